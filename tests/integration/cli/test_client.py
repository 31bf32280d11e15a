"""The Python clients against the real proxy, Redis and workers."""

import asyncio
from typing import Any

import numpy as np
import pytest

from inferqueue import (
    AsyncClient,
    Client,
    InvalidInput,
    JobCanceled,
    JobExpired,
    JobStatus,
    NotFound,
    QueueFull,
    Refused,
    Unauthorized,
    Unreachable,
    WaitTimeout,
)
from support.programs import Proxy
from support.redis_servers import RedisServer

FLOWER = [[5.1, 3.5, 1.4, 0.2]]
SEVERAL = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)


def test_predict(shared_up: Any) -> None:
    with Client(shared_up.url) as client:
        assert client.predict(FLOWER)["class_name"] == "setosa"
        assert [one["class_name"] for one in client.predict(SEVERAL, model="iris")] == ["setosa", "virginica"]


def test_submit_and_ask_later(shared_up: Any) -> None:
    with Client(shared_up.url) as client:
        handle = client.submit(FLOWER)
        result = client.job(handle.id).result(30)
        job = handle.read()

    assert (job.status, job.result, job.attempts, job.error) == (JobStatus.COMPLETED, result, 1, None)
    assert job.created_at is not None
    assert job.completed_at is not None
    assert job.created_at <= job.completed_at


def test_many(shared_up: Any) -> None:
    with Client(shared_up.url) as client:
        handles = client.submit_many(np.array([FLOWER] * 1500))

        # The last of them came with a second request.
        assert {handle.result(30)["prediction"] for handle in [*handles[::50], handles[-1]]} == {0}
        assert len({handle.id for handle in handles}) == 1500


def test_the_same_key_gives_the_same_job(shared_up: Any) -> None:
    with Client(shared_up.url) as client:
        first = client.submit(FLOWER, idempotency_key='order "7"')
        again = client.submit(FLOWER, idempotency_key='order "7"')
        with pytest.raises(InvalidInput, match="Idempotency-Key"):
            client.submit([[1.0, 2.0, 3.0, 4.0]], idempotency_key='order "7"')

    assert first.id == again.id


def test_bad_input_names_the_field(shared_up: Any) -> None:
    with Client(shared_up.url) as client:
        with pytest.raises(InvalidInput) as caught:
            client.predict([[1.0, 2.0]])
        with pytest.raises(NotFound, match="nope"):
            client.submit(FLOWER, model="nope")
        with pytest.raises(NotFound, match="there is no job 'j'"):
            client.job("j").status()

    assert [field for field, _ in caught.value.errors] == ["data"]


def test_async(shared_up: Any) -> None:
    async def use() -> None:
        async with AsyncClient(shared_up.url) as client:
            results = await asyncio.gather(*(client.predict(FLOWER, timeout=30) for _ in range(50)))
            assert {result["prediction"] for result in results} == {0}
            handles = await client.submit_many([FLOWER] * 10)
            assert len(await asyncio.gather(*(handle.result(30) for handle in handles))) == 10
            handle = await client.submit(FLOWER)
            assert (await handle.wait(30)).status == await handle.status() == JobStatus.COMPLETED
            assert await handle.cancel() == JobStatus.COMPLETED
            assert await client.job(handle.id).read() == await handle.read()
            assert [queue["name"] for queue in await client.queues()] == ["predict_queue"]
            with pytest.raises(NotFound):
                await client.job("j").result()

    asyncio.run(use())


def test_without_workers(redis_server: RedisServer) -> None:
    """What only a queue that nobody empties can show: waiting in vain, cancel, deadline, a full queue."""
    with Proxy(redis_server.url, QUEUE_MAX_LENGTH="2") as proxy, Client(proxy.url, patience=0.5) as client:
        with pytest.raises(WaitTimeout):
            client.predict(FLOWER, timeout=1)
        handle = client.submit(FLOWER)
        with pytest.raises(QueueFull, match="2") as caught:
            client.submit(FLOWER)
        assert caught.value.retry_after >= 1
        assert handle.cancel() == JobStatus.CANCELED
        with pytest.raises(JobCanceled, match=handle.id):
            handle.result()


def test_a_deadline_passes(redis_server: RedisServer) -> None:
    with Proxy(redis_server.url) as proxy, Client(proxy.url) as client, pytest.raises(JobExpired):
        client.predict(FLOWER, deadline_seconds=0.1, timeout=30)


def test_keys(redis_server: RedisServer) -> None:
    with Proxy(redis_server.url, API_KEYS="secret") as proxy:
        with Client(proxy.url) as client, pytest.raises(Unauthorized, match="API key"):
            client.submit(FLOWER)
        with Client(proxy.url, api_key="secret") as client:
            assert client.submit(FLOWER).id


def test_an_outage_of_redis_is_told_from_a_full_queue(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url) as proxy, Client(proxy.url, patience=0.2) as client:
        own_redis.kill()
        with pytest.raises(Unreachable, match="Redis"):
            client.submit(FLOWER)
        own_redis.start()
        with Client(proxy.url) as patient:
            assert patient.submit(FLOWER).id


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9", patience=0.2) as client, pytest.raises(Unreachable, match="inferqueue up"):
        client.submit(FLOWER)


def test_a_path_that_is_no_proxy(shared_up: Any) -> None:
    with Client(f"{shared_up.url}/elsewhere") as client, pytest.raises(Refused):
        client.submit(FLOWER)
