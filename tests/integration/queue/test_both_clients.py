"""The asynchronous client does what the synchronous one does: each scenario runs through both."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.connection import connect_async
from inferqueue_core.errors import QueueUnavailableError
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import (
    Accepted,
    CancelOutcome,
    Idempotency,
    NewJob,
    QueueFull,
    QueueObservation,
    RedriveOutcome,
    Retry,
    Submission,
    WorkerReport,
)
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import claim, claim_one, submit_jobs
from support.redis_servers import RedisServer

Scenario = Callable[[AsyncRedisJobQueue], Awaitable[Any]]


def run(settings: RedisSettings, scenario: Scenario, policy: QueuePolicy | None = None) -> Any:
    """Run a scenario with an asynchronous client of its own."""

    async def main() -> Any:
        client = connect_async(settings)
        try:
            return await scenario(AsyncRedisJobQueue(client, "predict_queue", policy or QueuePolicy()))
        finally:
            await client.aclose()

    return asyncio.run(main())


def timeless(observation: QueueObservation) -> QueueObservation:
    workers = tuple(replace(worker, silent_seconds=0) for worker in observation.workers)
    samples = tuple((position, None if age is None else 0.0) for position, age in observation.samples)
    return replace(observation, now_ms=0, samples=samples, workers=workers)


def test_submit_and_jobs(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    job = NewJob(new_job_id(), b"[1]")
    submission = Submission((job,), Idempotency("key", "print"))
    expected = [Accepted((job.id,), 0)]
    assert run(redis_settings, lambda other: other.submit([submission])) == expected
    assert queue.submit([submission]) == expected
    seen = run(redis_settings, lambda other: other.jobs([job.id, "nobody"]))
    assert seen == queue.jobs([job.id, "nobody"])
    assert run(redis_settings, lambda other: other.jobs([])) == []
    assert [claimed.id for claimed in claim(queue)] == [job.id]


def test_a_full_queue(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    submit_jobs(queue, 2)
    submission = Submission((NewJob(new_job_id(), b"[1]"),))
    policy = QueuePolicy(max_length=2)
    assert run(redis_settings, lambda other: other.submit([submission]), policy) == [QueueFull(2)]


def test_cancel_and_reap(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    (job_id,) = submit_jobs(queue)
    assert run(redis_settings, lambda other: other.cancel(job_id)) == CancelOutcome("canceled")
    assert run(redis_settings, lambda other: other.reap()) == queue.reap()


def test_retire_and_unretire(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    submit_jobs(queue)
    assert run(redis_settings, lambda other: other.retire(["a", "b"])) == {"a", "b"}
    assert queue.claim("a", 1, 1).retired

    async def unretire(other: AsyncRedisJobQueue) -> None:
        await other.unretire(["a"])
        await other.unretire([])

    run(redis_settings, unretire)
    assert len(claim(queue, worker="a")) == 1


def test_observe(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    submit_jobs(queue, 3)
    queue.extend("a", WorkerReport(jobs=3), claim(queue, 1, "a"))
    assert timeless(run(redis_settings, lambda other: other.observe(2))) == timeless(queue.observe(2))


def test_dead_letters_and_redrive(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    once = RedisJobQueue(queue._redis, "predict_queue", QueuePolicy(max_attempts=1))
    (job_id,) = submit_jobs(once)
    once.retry([Retry(claim_one(once), 0, "no memory")])
    assert run(redis_settings, lambda other: other.dead_letters()) == queue.dead_letters() != []
    assert run(redis_settings, lambda other: other.redrive([job_id])) == [RedriveOutcome.WAITING]
    assert run(redis_settings, lambda other: other.redrive([])) == []
    assert run(redis_settings, lambda other: other.dead_letters()) == []


def test_check_ping_and_models(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    async def scenario(other: AsyncRedisJobQueue) -> Any:
        await other.check()
        await other.ping()
        return await other.models()

    queue.check()
    assert run(redis_settings, scenario) == queue.models() == {}


def test_both_say_when_redis_is_away(own_redis: RedisServer) -> None:
    settings = RedisSettings(redis_url=own_redis.url)
    own_redis.kill()
    with pytest.raises(QueueUnavailableError, match="does not answer"):
        run(settings, lambda other: other.ping())
    with pytest.raises(QueueUnavailableError, match="does not answer"), own_redis.client() as client:
        RedisJobQueue(client, "predict_queue", QueuePolicy()).observe()


def test_both_find_their_way_back(own_redis: RedisServer) -> None:
    settings = RedisSettings(redis_url=own_redis.url)

    async def scenario(other: AsyncRedisJobQueue) -> int:
        await other.observe()
        own_redis.kill()
        own_redis.start()
        return (await other.observe()).length

    assert run(settings, scenario) == 0
    with own_redis.client() as client:
        queue = RedisJobQueue(client, "predict_queue", QueuePolicy())
        queue.observe()
        own_redis.kill()
        own_redis.start()
        assert queue.observe().length == 0
