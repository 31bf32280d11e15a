"""Pages of other origins: nobody by default, those of CORS_ORIGINS where it is set."""

import httpx
import pytest

from support.programs import Program, Proxy
from support.redis_servers import RedisServer

ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}


def test_no_page_of_another_origin_is_admitted_by_default(bare: httpx.Client) -> None:
    answer = bare.options("/predict", headers={"Origin": "https://app.example"} | ASKS)
    assert answer.status_code == 204
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/predict", "/v2/models/iris/infer"])
def test_pages_of_the_origins_named_may_ask_and_a_preflight_needs_no_key(own_redis: RedisServer, path: str) -> None:
    origin = {"Origin": "https://app.example"}
    with Proxy(own_redis.url, CORS_ORIGINS="https://app.example, http://localhost:3000", API_KEYS="k") as proxy:
        preflight = httpx.options(proxy.url + path, headers=origin | ASKS)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "x-api-key" in preflight.headers["Access-Control-Allow-Headers"]
        assert httpx.options(proxy.url + path, headers={"Origin": "https://other.example"} | ASKS).status_code == 400
        assert httpx.post(proxy.url + path, headers=origin, json={}).status_code == 401
        answer = httpx.post(f"{proxy.url}/predict", headers=origin | {"X-API-Key": "k"}, json={"data": [[1]]})
        assert answer.status_code == 202
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Location" in answer.headers["Access-Control-Expose-Headers"]
        other = httpx.post(f"{proxy.url}/predict", headers={"X-API-Key": "k"}, json={"data": [[1]]})
        assert "Access-Control-Allow-Origin" not in other.headers


def test_probes_with_a_slash_need_no_key_either(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url, API_KEYS="k") as proxy:
        assert httpx.get(f"{proxy.url}/livez/").status_code == 200
        assert httpx.get(f"{proxy.url}/queues/").status_code == 401


@pytest.mark.parametrize("origins", ["app.example", "https://app.example/", "https://app.example/page", "ftp://x"])
def test_what_is_no_origin_is_named(own_redis: RedisServer, origins: str) -> None:
    environment = {"REDIS_URL": own_redis.url, "HOST": "127.0.0.1", "PORT": "0", "CORS_ORIGINS": origins}
    program = Program("inferqueue_proxy", "listening", environment).launch()
    try:
        assert program.wait() == 2
        assert "CORS_ORIGINS" in program.output
        assert repr(origins) in program.output
    finally:
        program.close()
