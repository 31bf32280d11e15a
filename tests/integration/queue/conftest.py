"""Queues with short times, and a bare client beside them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from inferqueue_core.connection import connect
from inferqueue_core.jobs import Reaped
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import MakeQueue
from support.waiting import wait_until


@pytest.fixture
def raw(redis_settings: RedisSettings) -> Iterator[redis.Redis]:
    """A bare client: what a program of somebody else's does."""
    client = connect(redis_settings)
    yield client
    client.close()


@pytest.fixture
def make_queue(raw: redis.Redis) -> MakeQueue:
    """Make a queue named `predict_queue` with some of its policy's fields changed."""

    def make(**changes: float) -> RedisJobQueue:
        return RedisJobQueue(raw, "predict_queue", replace(QueuePolicy(), **changes))

    return make


@pytest.fixture
def let_leases_run_out(raw: redis.Redis) -> Callable[[], None]:
    """Move every lease into the past, as if its worker had been silent for that long."""

    def move() -> None:
        ids: Any = raw.zrange("predict_queue:leases", 0, -1)
        for job_id in ids:
            raw.zadd("predict_queue:leases", {job_id: 1})

    return move


@pytest.fixture
def reap(raw: redis.Redis, make_queue: MakeQueue) -> Callable[[], Reaped]:
    """Run one pass of the reaper; its lease is one that this Redis has already been up for."""

    def uptime() -> int:
        info: Any = raw.info("server")
        return int(info["uptime_in_seconds"])

    wait_until(lambda: uptime() >= 1, what="a second of uptime")
    return make_queue(lease=0.5).reap
