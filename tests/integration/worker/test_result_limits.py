"""A result has a limit: what is larger fails its job once, with a reason, and costs nobody else anything."""

from collections.abc import Callable, Iterator

import pytest

from inferqueue_core.connection import connect
from inferqueue_core.jobs import JobStatus
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import read, status, submit_jobs
from support.programs import Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def strict_redis() -> Iterator[RedisServer]:
    """A Redis that takes no value above 1 MiB, the least that it lets anybody ask for."""
    with RedisServer("--proto-max-bulk-len", "1mb") as server:
        yield server


def test_a_result_above_the_limit_fails_with_both_numbers(queue: RedisJobQueue, start: Start) -> None:
    start(MODEL_NAME="filling", MAX_RESULT_BYTES="1000000")
    large, small = submit_jobs(queue, data=b"[2000000]") + submit_jobs(queue, data=b"[3]")
    wait_until(lambda: status(queue, small) is JobStatus.COMPLETED)
    job = read(queue, large)
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert "8,000,001 bytes are more than 1,000,000, the limit (MAX_RESULT_BYTES)" in (job.error or "")
    assert read(queue, small).result == b'{"y":[1.5,1.5,1.5]}'


def test_a_result_that_redis_refuses_ends_its_job(strict_redis: RedisServer, prepare: Start) -> None:
    queue = RedisJobQueue(connect(RedisSettings(redis_url=strict_redis.url)), "predict_queue", QueuePolicy())
    prepare(strict_redis, MODEL_NAME="filling").start()
    ids = [*submit_jobs(queue, data=b"[2000000]"), *submit_jobs(queue, 3, b"[3]")]
    wait_until(lambda: all(status(queue, job_id).is_final for job_id in ids))
    assert [status(queue, job_id) for job_id in ids] == [JobStatus.FAILED] + [JobStatus.COMPLETED] * 3
    assert "the result is too large for Redis" in (read(queue, ids[0]).error or "")
    assert queue.observe().in_flight == 0


def test_a_limit_above_that_of_redis_is_refused_in_one_line(prepare: Start, own_redis: RedisServer) -> None:
    worker = prepare(own_redis, MAX_RESULT_BYTES="536870913").launch()
    assert worker.wait() == 2
    (line,) = worker.output.strip().splitlines()
    assert line.startswith("MAX_RESULT_BYTES='536870913': Redis takes no value above 536,870,912 bytes")
