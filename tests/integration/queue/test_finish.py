"""Finish: exactly one result is ever accepted for a job."""

from collections.abc import Callable

import pytest
import redis

from inferqueue_core.jobs import Canceled, Completed, Ending, Failed, FinishOutcome, JobStatus, Reaped
from inferqueue_core.queue import RedisJobQueue
from support.jobs import claim, claim_one, complete, read, submit_jobs
from support.waiting import wait_until

STORED, STORED_BEFORE, STALE = FinishOutcome.STORED, FinishOutcome.STORED_BEFORE, FinishOutcome.STALE


def test_a_result_is_stored_and_the_data_goes(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue)
    assert complete(queue, claim(queue), b'{"a": 1}') == [STORED]
    job = read(queue, job_id)
    assert (job.status, job.result, job.error, job.attempts) == (JobStatus.COMPLETED, b'{"a": 1}', None, 1)
    assert job.started_at is not None
    assert job.completed_at is not None
    assert job.completed_at >= job.started_at
    assert raw.exists(f"job:{job_id}:data") == 0
    assert raw.zcard("predict_queue:leases") == 0


@pytest.mark.parametrize(
    ("ending", "expected", "error"),
    [
        (lambda job: Failed(job, "bad row"), JobStatus.FAILED, "bad row"),
        (Canceled, JobStatus.CANCELED, "canceled while it ran"),
    ],
)
def test_other_endings(queue: RedisJobQueue, ending: Callable[..., Ending], expected: JobStatus, error: str) -> None:
    (job_id,) = submit_jobs(queue)
    assert queue.finish([ending(claim_one(queue))]) == [STORED]
    job = read(queue, job_id)
    assert (job.status, job.result, job.error) == (expected, None, error)
    assert queue.observe().counters[expected] == 1


def test_an_error_may_hold_any_text(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    queue.finish([Failed(claim_one(queue), "lone \udcff surrogate, naïve")])
    assert "naïve" in (read(queue, job_id).error or "")


def test_the_same_finish_again_is_known_and_changes_nothing(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    assert complete(queue, [job], b"1") == [STORED]
    assert complete(queue, [job], b"2") == [STORED_BEFORE]
    assert queue.finish([Failed(job, "no")]) == [STORED_BEFORE]
    assert read(queue, job_id).result == b"1"
    assert queue.observe().counters["completed"] == 1


def test_a_job_that_is_finished_twice_in_one_call_counts_once(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    assert queue.finish([Completed(job, b"1"), Completed(job, b"2")]) == [STORED, STORED_BEFORE]
    assert read(queue, job_id).result == b"1"
    assert queue.observe().counters["completed"] == 1


def test_a_stale_finish_changes_nothing_and_is_counted(
    queue: RedisJobQueue, let_leases_run_out: Callable[[], None], reap: Callable[[], Reaped]
) -> None:
    (job_id,) = submit_jobs(queue)
    slow = claim_one(queue, "slow")
    let_leases_run_out()
    assert reap().put_back == 1
    assert complete(queue, [slow], b"slow") == [STALE]
    fast = claim_one(queue, "fast")
    assert complete(queue, [slow], b"slow") == [STALE]
    assert complete(queue, [fast], b"fast") == [STORED]
    assert complete(queue, [slow], b"slow") == [STALE]
    assert complete(queue, [fast], b"fast") == [STORED_BEFORE]
    job = read(queue, job_id)
    assert (job.result, job.worker, job.attempts) == (b"fast", "fast", 2)
    counters = queue.observe().counters
    assert (counters["stale"], counters["completed"]) == (3, 1)


def test_a_finish_within_an_overdue_lease_that_nobody_reaped_is_stored(
    queue: RedisJobQueue, let_leases_run_out: Callable[[], None]
) -> None:
    submit_jobs(queue)
    job = claim_one(queue)
    let_leases_run_out()
    assert complete(queue, [job]) == [STORED]


def test_one_stale_job_does_not_harm_its_batch(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submit_jobs(queue, 3)
    jobs = claim(queue)
    raw.set(f"job:{jobs[1].id}:owner", "7:other:w", ex=60)
    assert complete(queue, jobs) == [STORED, STALE, STORED]
    counters = queue.observe().counters
    assert (counters["completed"], counters["stale"]) == (2, 1)


def test_many_jobs_finish_in_one_call(queue: RedisJobQueue) -> None:
    submit_jobs(queue, 1000)
    jobs = claim(queue, 1000)
    assert complete(queue, jobs) == [STORED] * 1000
    observation = queue.observe()
    assert (observation.in_flight, observation.counters["completed"]) == (0, 1000)


def test_a_finish_of_nothing_is_nothing(queue: RedisJobQueue) -> None:
    assert queue.finish([]) == []


def test_whoever_waits_hears_of_the_end(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue)
    channel = f"job:{job_id}:events"
    with raw.pubsub() as listener:
        listener.subscribe(channel)
        wait_until(lambda: raw.pubsub_numsub(channel)[0][1] == 1)
        complete(queue, claim(queue))
        heard: list[bytes] = []
        while b"completed" not in heard:
            message = wait_until(lambda: listener.get_message(timeout=1))
            if message["type"] == "message":
                heard.append(message["data"])
    assert heard == [b"completed"]
