"""What a proxy that has not looked at Redis since makes of requests for versions that have come and gone.

These proxies look for requests alone: the rounds in which they look each second do not run.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import redis
from msgspec.structs import replace

from inferqueue_core.connection import connect
from inferqueue_core.datatypes import Datatype
from inferqueue_core.jobs import JobTarget, WorkerReport
from inferqueue_core.models import ModelInfo, TensorSpec, signature_of
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.protocol import read_target
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from inferqueue_proxy.app import make_app, make_services
from inferqueue_proxy.auth import ApiKeys
from inferqueue_proxy.monitor import REFRESH_SECONDS
from inferqueue_proxy.settings import ProxySettings
from support.redis_servers import RedisServer

Send = Callable[[httpx.AsyncClient, int], Awaitable[httpx.Response]]
OUTPUT = TensorSpec("y", Datatype.FP32, (-1,))


def model(version: int, columns: int, queue: str = "predict_queue") -> ModelInfo:
    """Make a version of `m` whose input has so many columns."""
    inputs = (TensorSpec("x", Datatype.FP32, (-1, columns)),)
    info = ModelInfo("m", str(version), queue, inputs, (OUTPUT,), batchable=True)
    return replace(info, signature=signature_of(info))


ONE, TWO = model(1, 2), model(2, 3)


class Workers:
    """Workers of versions of `m`, as far as they can be seen in Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def start(self, info: ModelInfo) -> None:
        self._beat(info)
        self._queue(info).publish_model(info)

    def stop(self, info: ModelInfo) -> None:
        """Tell the worker to stop, which it does not do yet."""
        self._beat(info, stopping=True)

    def end(self, info: ModelInfo) -> None:
        self._queue(info).forget_worker(f"worker-{info.version}")

    def target(self, job_id: str) -> JobTarget:
        """Return what a job is for."""
        owner: Any = self._client.get(f"job:{job_id}:owner")
        return read_target(owner)

    @property
    def looks(self) -> int:
        """How often anybody has read the models."""
        stats: Any = self._client.info("commandstats")
        return int(stats.get("cmdstat_hgetall", {"calls": 0})["calls"])

    def _beat(self, info: ModelInfo, *, stopping: bool = False) -> None:
        report = WorkerReport(model="m", version=info.version, signature=info.signature, stopping=stopping)
        self._queue(info).extend(f"worker-{info.version}", report, [])

    def _queue(self, info: ModelInfo) -> RedisJobQueue:
        return RedisJobQueue(self._client, info.queue, QueuePolicy())


@pytest.fixture
def workers(redis_settings: RedisSettings) -> Iterator[Workers]:
    client = connect(redis_settings)
    yield Workers(client)
    client.close()


@asynccontextmanager
async def proxy(settings: RedisSettings) -> AsyncIterator[httpx.AsyncClient]:
    # No worker runs anything here, so a client of /v2 is told soon that its job has not ended, and the job's id.
    services = make_services(ProxySettings(redis_url=settings.redis_url, prediction_timeout=0.001))
    transport = httpx.ASGITransport(make_app(services, ApiKeys(None, None)))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy", timeout=30) as client:
            yield client
    finally:
        await services.queues._redis.aclose()


def rows(columns: int) -> list[list[float]]:
    return [[0.5] * columns] * 2


def raw_rows(columns: int) -> bytes:
    return np.full((2, columns), 0.5, np.float32).tobytes()


async def predict(client: httpx.AsyncClient, columns: int) -> httpx.Response:
    return await client.post("/predict", json={"data": rows(columns), "model": "m"})


async def predict_by_default(client: httpx.AsyncClient, columns: int) -> httpx.Response:
    return await client.post("/predict", json={"data": rows(columns)})


async def predict_batch(client: httpx.AsyncClient, columns: int) -> httpx.Response:
    return await client.post("/predict/batch", json=[{"data": rows(columns), "model": "m"}] * 3)


async def infer(client: httpx.AsyncClient, columns: int) -> httpx.Response:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, columns], "data": rows(columns)}
    return await client.post("/v2/models/m/infer", json={"inputs": [tensor]})


async def infer_binary(client: httpx.AsyncClient, columns: int) -> httpx.Response:
    tail = raw_rows(columns)
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, columns], "parameters": {"binary_data_size": len(tail)}}
    header = orjson.dumps({"inputs": [tensor]})
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return await client.post("/v2/models/m/infer", content=header + tail, headers=headers)


async def infer_raw(client: httpx.AsyncClient, columns: int) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"}
    return await client.post("/v2/models/m/infer", content=raw_rows(columns)[: 4 * columns], headers=headers)


ROUTES = (predict, predict_by_default, predict_batch, infer, infer_binary)


def job_ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code in (202, 504), answer.text
    body = answer.json()
    return body["job_ids"] if "job_ids" in body else [body["job_id"]]


@pytest.mark.parametrize("send", [*ROUTES, infer_raw])
def test_two_proxies_refuse_nothing_while_a_version_of_another_shape_comes(
    redis_settings: RedisSettings, workers: Workers, send: Send
) -> None:
    async def scenario() -> None:
        async def version_for(client: httpx.AsyncClient, columns: int) -> str:
            (version,) = {workers.target(job_id).version for job_id in job_ids(await send(client, columns))}
            return version

        async with proxy(redis_settings) as first, proxy(redis_settings) as second:
            workers.start(ONE)
            for client in (first, second):
                assert (await client.get("/v2/models/m")).json()["versions"] == ["1"]
                assert await version_for(client, 2) == "1"
            workers.start(TWO)
            assert [await version_for(first, columns) for columns in (3, 2, 3)] == ["2", "1", "2"]
            assert (await first.get("/v2/models/m")).json()["inputs"][0]["shape"] == [-1, 3]
            assert [await version_for(second, columns) for columns in (3, 2, 3)] == ["2", "1", "2"]
            workers.stop(ONE)
            assert (await send(first, 7)).status_code in (400, 422)
            for client in (first, second):
                assert [await version_for(client, columns) for columns in (3, 2)] == ["2", "1"]

    asyncio.run(scenario())


@pytest.mark.parametrize("send", ROUTES)
def test_what_fits_no_version_is_refused_by_the_highest_that_is_ready(
    redis_settings: RedisSettings, workers: Workers, send: Send
) -> None:
    async def scenario() -> None:
        async with proxy(redis_settings) as client:
            for info in (ONE, TWO, model(3, 4)):
                workers.start(info)
            assert (await client.get("/v2/models/m")).json()["inputs"][0]["shape"] == [-1, 4]
            workers.end(model(3, 4))
            refused = await send(client, 5)
            assert refused.status_code == (400 if send in (infer, infer_binary) else 422)
            assert "takes shape [-1, 3] (-1 is any length), data has shape [2, 5]" in refused.text
            workers.end(ONE)
            assert (await send(client, 9)).status_code == refused.status_code
            assert "takes shape [-1, 3]" in (await send(client, 2)).text

    asyncio.run(scenario())


def test_a_version_that_is_asked_for_is_looked_for_before_it_is_unknown(
    redis_settings: RedisSettings, workers: Workers
) -> None:
    async def scenario() -> None:
        async with proxy(redis_settings) as client:
            workers.start(ONE)
            assert (await client.get("/v2/models/m")).is_success
            body = {"data": rows(3), "version": "2"}
            for order in (body, body | {"model": "m"}):
                refused = await client.post("/predict", json=order)
                assert (refused.status_code, "it has '1'" in refused.text) == (404, True)
            workers.start(TWO)
            assert (await client.get("/v2/models/m/versions/2/ready")).is_success
            (job_id,) = job_ids(await client.post("/predict", json=body))
            assert (workers.target(job_id).version, workers.target(job_id).pinned) == ("2", True)
            assert (await client.post("/predict", json=body | {"data": rows(2)})).status_code == 422
            assert (await client.post("/predict/batch", json=[body, body | {"version": "3"}])).status_code == 404

    asyncio.run(scenario())


def test_a_version_whose_files_have_changed_takes_what_they_take(
    redis_settings: RedisSettings, workers: Workers
) -> None:
    async def scenario() -> None:
        async with proxy(redis_settings) as client:
            workers.start(ONE)
            body = {"data": rows(4), "model": "m", "version": "1"}
            assert (await client.post("/predict", json=body)).status_code == 422
            workers.start(model(1, 4))
            assert (await client.post("/predict", json=body)).status_code == 202

    asyncio.run(scenario())


def test_a_proxy_that_has_just_started_knows_who_is_ready(redis_settings: RedisSettings, workers: Workers) -> None:
    async def scenario() -> None:
        async with proxy(redis_settings) as client:
            workers.start(ONE)
            workers.start(TWO)
            workers.end(TWO)
            assert (await client.get("/v2/models/m")).json()["inputs"][0]["shape"] == [-1, 2]

    asyncio.run(scenario())


def test_versions_on_queues_of_their_own_take_what_fits_them(redis_settings: RedisSettings, workers: Workers) -> None:
    async def scenario() -> None:
        async with proxy(redis_settings) as client:
            workers.start(ONE)
            assert (await predict_batch(client, 2)).status_code == 202
            workers.start(model(2, 3, "queue_v2"))
            for columns, queue in ((3, "queue_v2"), (2, "predict_queue")):
                ids = job_ids(await predict_batch(client, columns))
                assert {workers.target(job_id).queue for job_id in ids} == {queue}
            mixed = [{"data": rows(columns), "model": "m"} for columns in (2, 3)]
            refused = await client.post("/predict/batch", json=mixed)
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "[1].model")

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v2/models/m/versions/9", "/v2/models/none", "/predict"])
def test_many_bad_requests_share_few_looks_at_redis(redis_settings: RedisSettings, workers: Workers, path: str) -> None:
    async def scenario() -> None:
        async with proxy(redis_settings) as client:
            workers.start(ONE)
            looks, began = workers.looks, time.monotonic()
            bad = [predict(client, 9) if path == "/predict" else client.get(path) for _ in range(300)]
            answers = await asyncio.gather(*bad)
            assert {answer.status_code for answer in answers} == {422 if path == "/predict" else 404}
            most = (time.monotonic() - began) / REFRESH_SECONDS + 1
            # A look reads one hash of models, and the reports and counters of one queue.
            assert 1 <= (workers.looks - looks) / 3 <= most

    asyncio.run(scenario())


def test_what_fits_causes_no_look_at_redis(redis_settings: RedisSettings, workers: Workers) -> None:
    async def scenario() -> None:
        async with proxy(redis_settings) as client:
            workers.start(ONE)
            workers.start(TWO)
            assert (await client.get("/v2/models/m")).is_success
            looks = workers.looks
            for send in ROUTES:
                for columns in (2, 3):
                    job_ids(await send(client, columns))
            assert workers.looks == looks

    asyncio.run(scenario())


def test_while_redis_is_away_nobody_is_told_that_a_request_is_bad(own_redis: RedisServer) -> None:
    async def scenario() -> None:
        async with proxy(RedisSettings(redis_url=own_redis.url)) as client:
            with own_redis.client() as connection:
                Workers(connection).start(ONE)
            assert (await predict(client, 2)).status_code == 202
            own_redis.kill()
            refused = await predict(client, 9)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")

    asyncio.run(scenario())
