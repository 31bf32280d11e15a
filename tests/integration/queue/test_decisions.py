"""The last scaling decision: written by whoever scales, seen by all who look, forgotten when nobody scales any more."""

import asyncio

import redis

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.connection import connect_async
from inferqueue_core.jobs import QueueDecision
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import submit_jobs
from support.waiting import wait_until

KEY = "predict_queue:decision"
DECISION = QueueDecision(
    desired_replicas=3, replicas=1, reason="Deadline", message="9 jobs wait – no worker", decided_at=1_700_000_000_000
)


def test_a_decision_is_seen_until_it_expires(queue: RedisJobQueue, raw: redis.Redis) -> None:
    assert queue.observe().decision is None
    queue.publish_decision(DECISION)
    assert queue.observe().decision == DECISION
    assert 80 < int(str(raw.ttl(KEY))) <= 90
    raw.pexpire(KEY, 1)
    wait_until(lambda: queue.observe().decision is None, what="the end of the decision")


def test_the_asynchronous_client_writes_the_same(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    async def publish() -> None:
        client = connect_async(redis_settings)
        await AsyncRedisJobQueue(client, "predict_queue", QueuePolicy()).publish_decision(DECISION)
        await client.aclose()

    asyncio.run(publish())
    assert queue.observe().decision == DECISION


def test_what_is_no_decision_hides_nothing_else(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submit_jobs(queue, 2)
    raw.set(KEY, "scaled by hand", ex=60)
    assert (queue.observe().length, queue.observe().decision) == (2, None)
    raw.delete(KEY)
    raw.rpush(KEY, "a list")
    assert (queue.observe().length, queue.observe().decision) == (2, None)
