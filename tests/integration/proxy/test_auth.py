from pathlib import Path

import httpx

from support.programs import Proxy
from support.redis_servers import RedisServer
from support.waiting import wait_until


def test_keys_of_environment_and_file(redis_server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("filed\n")
    with (
        Proxy(redis_server.url, API_KEYS="one,two", API_KEYS_FILE=str(file)) as proxy,
        httpx.Client(base_url=proxy.url) as client,
    ):
        refused = client.get("/queues")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert client.get("/queues", headers={"X-API-Key": "three"}).status_code == 401
        assert client.get("/v2", headers={"Authorization": "Basic two"}).json().keys() == {"error"}
        assert client.get("/queues", headers={"Authorization": "Bearer two"}).status_code == 200
        assert client.get("/queues", headers={"X-API-Key": "filed"}).status_code == 200
        for path in ("/health", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert client.get(path).status_code == 200
        assert httpx.get(proxy.metrics_url).status_code == 200
        file.write_text("renewed\n")
        wait_until(lambda: client.get("/queues", headers={"X-API-Key": "renewed"}).status_code == 200)
        assert client.get("/queues", headers={"X-API-Key": "filed"}).status_code == 401
