"""Pages of other origins: nobody by default, those of CORS_ORIGINS where it is set."""

from collections.abc import Iterator

import httpx
import pytest

from support.programs import Proxy
from support.redis_servers import RedisServer

ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}
KEY = {"X-API-Key": "k"}


@pytest.fixture(scope="module")
def guarded(bare_redis: RedisServer) -> Iterator[Proxy]:
    """A proxy that asks for a key, and admits two origins."""
    with Proxy(bare_redis.url, CORS_ORIGINS="https://app.example, http://localhost:3000", API_KEYS="k") as proxy:
        yield proxy


def test_no_page_of_another_origin_is_admitted_by_default(bare: httpx.Client) -> None:
    answer = bare.options("/predict", headers={"Origin": "https://app.example"} | ASKS)
    assert answer.status_code == 204
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/predict", "/v2/models/iris/infer"])
def test_pages_of_the_origins_named_may_ask_and_a_preflight_needs_no_key(guarded: Proxy, path: str) -> None:
    origin = {"Origin": "https://app.example"}
    preflight = httpx.options(guarded.url + path, headers=origin | ASKS)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "x-api-key" in preflight.headers["Access-Control-Allow-Headers"]
    assert httpx.options(guarded.url + path, headers={"Origin": "https://other.example"} | ASKS).status_code == 400
    assert httpx.post(guarded.url + path, headers=origin, json={}).status_code == 401


def test_what_a_page_may_read_of_an_answer_is_told_to_its_origin_alone(guarded: Proxy) -> None:
    answer = httpx.post(f"{guarded.url}/predict", json={"data": [[1]]}, headers={"Origin": "https://app.example"} | KEY)
    assert answer.status_code == 202
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Location" in answer.headers["Access-Control-Expose-Headers"]
    other = httpx.post(f"{guarded.url}/predict", json={"data": [[1]]}, headers=KEY)
    assert "Access-Control-Allow-Origin" not in other.headers


def test_probes_with_a_slash_need_no_key_either(guarded: Proxy) -> None:
    assert httpx.get(f"{guarded.url}/livez/").status_code == 200
    assert httpx.get(f"{guarded.url}/queues/").status_code == 401
