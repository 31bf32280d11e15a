"""SIGTERM: the worker ends with 0 in time, and what it has not run waits for others at once."""

import signal
import time
from collections import Counter
from collections.abc import Callable

from inferqueue_core.jobs import JobStatus
from inferqueue_core.queue import RedisJobQueue
from support.jobs import read, status, submit_jobs
from support.programs import Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

LONG = b"[1000000000]"
# Each a run of a hundredth of a second, so that the load outlasts the signal.
JOBS = 500
Start = Callable[..., Worker]


def test_sigterm_under_load_loses_nothing_and_leaves_no_lease(
    queue: RedisJobQueue, start: Start, all_ended: Callable[[list[str]], bool]
) -> None:
    ids = submit_jobs(queue, JOBS, b"[10000]")
    worker = start(MODEL_NAME="alone", RUNNERS="2")
    wait_until(lambda: queue.observe().counters.get("completed", 0) > 10)
    assert worker.terminate() == 0
    left = queue.observe()
    standing = Counter(job.status for job in queue.jobs(ids) if job is not None)
    assert left.in_flight == 0
    assert 0 < left.length < JOBS
    assert standing == {JobStatus.COMPLETED: JOBS - left.length, JobStatus.PENDING: left.length}
    assert left.workers == ()
    start(MODEL_NAME="alone", RUNNERS="2")
    wait_until(lambda: all_ended(ids), 120)
    assert queue.observe().counters["completed"] == JOBS


def test_a_run_longer_than_the_grace_is_given_back_without_an_attempt(queue: RedisJobQueue, start: Start) -> None:
    (job_id,) = submit_jobs(queue, data=LONG)
    worker = start(GRACE_SECONDS="0.2")
    wait_until(lambda: status(queue, job_id) is JobStatus.PROCESSING)
    began = time.monotonic()
    assert worker.terminate() == 0
    assert time.monotonic() - began < 5
    assert (status(queue, job_id), read(queue, job_id).attempts) == (JobStatus.PENDING, 0)
    assert (queue.observe().length, queue.observe().in_flight) == (1, 0)


def test_a_predictor_deaf_to_stops_does_not_keep_its_jobs(queue: RedisJobQueue, start: Start) -> None:
    (job_id,) = submit_jobs(queue, data=b"[999]")
    worker = start(PREDICTOR="support.predictors:Negative", GRACE_SECONDS="0.1")
    wait_until(lambda: status(queue, job_id) is JobStatus.PROCESSING)
    assert worker.terminate() == 0
    assert (queue.observe().length, queue.observe().in_flight) == (1, 0)


def test_an_idle_worker_ends_at_once(queue: RedisJobQueue, start: Start) -> None:
    worker = start(RUNNERS="4")
    began = time.monotonic()
    assert worker.terminate() == 0
    assert time.monotonic() - began < 5


def test_a_worker_without_redis_ends_with_0(own_redis: RedisServer, prepare: Callable[..., Worker]) -> None:
    worker = prepare(own_redis).start()
    own_redis.kill()
    wait_until(lambda: worker.line("heartbeat failed"))
    assert worker.terminate() == 0


def test_a_worker_that_waits_for_redis_ends_with_0(own_redis: RedisServer, prepare: Callable[..., Worker]) -> None:
    own_redis.kill()
    worker = prepare(own_redis).launch()
    wait_until(lambda: worker.line("waiting for Redis"))
    assert worker.terminate() == 0


def test_sigint_ends_it_as_well(queue: RedisJobQueue, start: Start) -> None:
    worker = start()
    worker.send(signal.SIGINT)
    assert worker.wait() == 0
