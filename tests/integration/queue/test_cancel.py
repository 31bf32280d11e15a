"""Cancel: before, while and after a job runs; and the deadlines by which it must have started."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from inferqueue_core.jobs import (
    Canceled,
    CancelOutcome,
    FinishOutcome,
    GiveBack,
    JobStatus,
    LeaseState,
    Reaped,
    Retry,
    RetryOutcome,
)
from inferqueue_core.queue import RedisJobQueue
from support.jobs import WORKER, claim, claim_one, complete, read, status, submit_jobs

LATE = "its deadline passed before a worker was free"


def pass_deadlines(raw: redis.Redis) -> None:
    ids: Any = raw.zrange("predict_queue:deadlines", 0, -1)
    for job_id in ids:
        raw.zadd("predict_queue:deadlines", {job_id: 1})


def test_a_waiting_job_ends_at_once_and_is_never_run(queue: RedisJobQueue, raw: redis.Redis) -> None:
    first, second = submit_jobs(queue, 2, deadline_seconds=60)
    assert queue.cancel(first) == CancelOutcome("canceled")
    assert status(queue, first) is JobStatus.CANCELED
    assert raw.exists(f"job:{first}:data") == 0
    assert raw.zcard("predict_queue:deadlines") == 1
    assert [job.id for job in claim(queue, 1)] == [second]
    assert queue.observe().counters["canceled"] == 1


def test_a_second_cancel_comes_too_late(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    queue.cancel(job_id)
    assert queue.cancel(job_id) == CancelOutcome("ended", JobStatus.CANCELED)
    assert queue.observe().counters["canceled"] == 1


def test_nobody_knows_an_unknown_job(queue: RedisJobQueue) -> None:
    assert queue.cancel("0" * 32) == CancelOutcome("unknown")


def test_an_ended_job_stays_as_it_ended(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    complete(queue, claim(queue), b"1")
    assert queue.cancel(job_id) == CancelOutcome("ended", JobStatus.COMPLETED)
    assert read(queue, job_id).result == b"1"


def test_the_worker_of_a_running_job_hears_of_it(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    assert queue.cancel(job_id) == CancelOutcome("requested")
    assert queue.cancel(job_id) == CancelOutcome("requested")
    assert status(queue, job_id) is JobStatus.PROCESSING
    assert queue.extend(WORKER, None, [job]).leases == (LeaseState.CANCEL_REQUESTED,)
    assert queue.finish([Canceled(job)]) == [FinishOutcome.STORED]
    assert status(queue, job_id) is JobStatus.CANCELED


def test_a_result_that_comes_first_counts(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    queue.cancel(job_id)
    assert complete(queue, [job]) == [FinishOutcome.STORED]
    assert status(queue, job_id) is JobStatus.COMPLETED
    assert queue.cancel(job_id) == CancelOutcome("ended", JobStatus.COMPLETED)


@pytest.mark.parametrize("how", [GiveBack, lambda job: Retry(job, 0, "")])
def test_a_canceled_job_is_not_retried(queue: RedisJobQueue, how: Callable[..., Retry | GiveBack]) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    queue.cancel(job_id)
    assert queue.retry([how(job)]) == [RetryOutcome.CANCELED]
    assert status(queue, job_id) is JobStatus.CANCELED
    assert claim(queue) == []


def test_a_canceled_job_of_a_dead_worker_ends(
    queue: RedisJobQueue, let_leases_run_out: Callable[[], None], reap: Callable[[], Reaped]
) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    queue.cancel(job_id)
    let_leases_run_out()
    reap()
    assert status(queue, job_id) is JobStatus.CANCELED
    assert complete(queue, [job]) == [FinishOutcome.STALE]


def test_a_job_that_waits_for_its_retry_is_canceled(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue)
    queue.retry([Retry(claim_one(queue), 60, "")])
    assert queue.cancel(job_id) == CancelOutcome("canceled")
    raw.zadd("predict_queue:delayed", {job_id: 1})
    assert claim(queue) == []


def test_a_late_job_is_expired_when_it_would_be_claimed(queue: RedisJobQueue, raw: redis.Redis) -> None:
    late = submit_jobs(queue, 2, deadline_seconds=60)
    pass_deadlines(raw)
    (in_time,) = submit_jobs(queue, 1, deadline_seconds=60)
    assert [job.id for job in claim(queue)] == [in_time]
    assert [(read(queue, job_id).status, read(queue, job_id).error) for job_id in late] == [
        (JobStatus.EXPIRED, LATE)
    ] * 2
    assert raw.zcard("predict_queue:deadlines") == 0


def test_a_late_job_expires_without_any_worker(
    queue: RedisJobQueue, raw: redis.Redis, reap: Callable[[], Reaped]
) -> None:
    (job_id,) = submit_jobs(queue, deadline_seconds=60)
    assert reap().expired == 0
    pass_deadlines(raw)
    assert reap() == Reaped(0, 0, 1, 0)
    assert (status(queue, job_id), read(queue, job_id).error) == (JobStatus.EXPIRED, LATE)
    assert claim(queue) == []
    assert queue.observe().counters["expired"] == 1


def test_a_job_that_started_in_time_is_not_expired(
    queue: RedisJobQueue, raw: redis.Redis, reap: Callable[[], Reaped]
) -> None:
    submit_jobs(queue, deadline_seconds=60)
    job = claim_one(queue)
    pass_deadlines(raw)
    assert reap().expired == 0
    assert complete(queue, [job]) == [FinishOutcome.STORED]


def test_a_job_that_a_stranger_runs_is_not_expired(
    queue: RedisJobQueue, raw: redis.Redis, reap: Callable[[], Reaped]
) -> None:
    (job_id,) = submit_jobs(queue, deadline_seconds=60)
    raw.rpop("predict_queue")
    raw.set(f"job:{job_id}:status", "processing", ex=60)
    pass_deadlines(raw)
    assert reap().expired == 0
    assert status(queue, job_id) is JobStatus.PROCESSING
    assert raw.zcard("predict_queue:deadlines") == 0
    raw.delete(f"job:{job_id}:data", f"job:{job_id}:owner")  # as the stranger does in the end
