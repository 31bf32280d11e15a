"""One client goes to a bound of the proxy again and again; ten good ones, served beside it, notice nothing."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from support.good_clients import NEGATIONS, Again, GoodClients, store_negation
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    store_negation(folder)
    return folder


@pytest.fixture(params=["proto-max-bulk-len", "client-query-buffer-limit"])
def strict(request: pytest.FixtureRequest, repository: Path) -> Iterator[Proxy]:
    """A proxy with a worker, on a Redis that takes no more than 1 MiB at once, the least that can be asked for."""
    served = {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "neg"}
    with RedisServer(f"--{request.param}", "1mb") as redis, Worker(redis.url, **served), Proxy(redis.url) as proxy:
        _await_model(proxy)
        yield proxy


def _await_model(proxy: Proxy) -> None:
    wait_until(lambda: httpx.get(f"{proxy.url}/v2/models/neg").is_success, what="the model in the catalog")


def test_data_that_redis_refuses_keeps_nobody_from_submitting(strict: Proxy) -> None:
    body = orjson.dumps({"model": "neg", "data": [[0.5] * 4] * 100_000})
    with (
        httpx.Client(base_url=strict.url, timeout=60, headers=JSON) as http,
        GoodClients(strict.url, NEGATIONS).at_work() as good,
        Again(lambda: http.post("/predict", content=body)).at_work() as hostile,
    ):
        hostile.await_outcomes(3)
        good.await_right(50)
    for refused in hostile.outcomes:
        assert refused.status_code == 413
        assert "has refused a call of 1,800," in refused.json()["detail"]
        assert "proto-max-bulk-len" in refused.json()["detail"]
