"""Retries, dead letters and their redrive."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from inferqueue_core.jobs import (
    ClaimedJob,
    FinishOutcome,
    GiveBack,
    JobStatus,
    Reaped,
    RedriveOutcome,
    Retry,
    RetryOutcome,
)
from inferqueue_core.queue import RedisJobQueue
from support.jobs import MakeQueue, claim, claim_one, complete, read, status, submit_jobs

WAITING, DEAD, STALE = RetryOutcome.WAITING, RetryOutcome.DEAD, RetryOutcome.STALE


def bury(queue: RedisJobQueue, job_id: str, raw: redis.Redis) -> None:
    """Make a waiting job, the next one, a dead letter by its last attempt's failure."""
    raw.set(f"job:{job_id}:owner", "2::", ex=60)
    job = claim_one(queue)
    assert job.id == job_id
    assert queue.retry([Retry(job, 0, "no memory")]) == [DEAD]


def make_due(raw: redis.Redis) -> None:
    ids: Any = raw.zrange("predict_queue:delayed", 0, -1)
    for job_id in ids:
        raw.zadd("predict_queue:delayed", {job_id: 1})


def test_a_retry_waits_for_its_time(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue)
    assert queue.retry([Retry(claim_one(queue), 60, "no memory")]) == [WAITING]
    assert claim(queue) == []
    assert status(queue, job_id) is JobStatus.PENDING
    observation = queue.observe()
    assert (observation.delayed, observation.in_flight, observation.counters["retried"]) == (1, 0, 1)
    make_due(raw)
    assert claim_one(queue).attempt == 2


def test_due_retries_come_first_and_the_longest_due_before_all(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submitted = submit_jobs(queue, 4)
    for delay, job in zip((30, 10, 20), claim(queue, 3), strict=True):
        queue.retry([Retry(job, delay, "")])
    for job_id in submitted[:3]:
        raw.zincrby("predict_queue:delayed", -60_000, job_id)
    assert [job.id for job in claim(queue)] == [submitted[1], submitted[2], submitted[0], submitted[3]]


def test_the_reaper_promotes_due_retries(queue: RedisJobQueue, raw: redis.Redis, reap: Callable[[], Reaped]) -> None:
    submit_jobs(queue)
    queue.retry([Retry(claim_one(queue), 60, "")])
    make_due(raw)
    assert reap() == Reaped(0, 0, 0, 1)
    assert queue.observe().length == 1


def test_given_back_jobs_come_first_in_order_and_lose_no_attempt(queue: RedisJobQueue) -> None:
    submitted = submit_jobs(queue, 4)
    jobs = claim(queue, 3)
    assert queue.retry([GiveBack(job) for job in jobs]) == [WAITING] * 3
    again = claim(queue)
    assert [job.id for job in again] == submitted
    assert [job.attempt for job in again] == [1] * 4
    assert queue.observe().counters.get("retried", 0) == 0


def test_a_thousand_jobs_are_given_back_in_one_call(queue: RedisJobQueue) -> None:
    submitted = submit_jobs(queue, 1000)
    assert queue.retry([GiveBack(job) for job in claim(queue, 1000)]) == [WAITING] * 1000
    assert [job.id for job in claim(queue, 1000)] == submitted


def test_a_retry_at_the_last_attempt_makes_a_dead_letter(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue)
    bury(queue, job_id, raw)
    assert (status(queue, job_id), read(queue, job_id).error) == (JobStatus.FAILED, "no memory")
    (letter,) = queue.dead_letters()
    assert (letter.job_id, letter.attempts, letter.error) == (job_id, 3, "no memory")
    counters = queue.observe().counters
    assert (counters["failed"], counters["dead"], queue.observe().dead) == (1, 1, 1)


def test_a_stale_retry_does_nothing(
    queue: RedisJobQueue, let_leases_run_out: Callable[[], None], reap: Callable[[], Reaped]
) -> None:
    submit_jobs(queue)
    stale = claim_one(queue, "slow")
    let_leases_run_out()
    reap()
    held = claim_one(queue, "fast")
    assert queue.retry([Retry(stale, 0, ""), GiveBack(stale)]) == [STALE, STALE]
    assert complete(queue, [held]) == [FinishOutcome.STORED]


def test_a_finished_job_cannot_be_retried(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    complete(queue, [job])
    assert queue.retry([GiveBack(job)]) == [STALE]
    assert status(queue, job_id) is JobStatus.COMPLETED


def test_a_retried_job_cannot_be_finished(queue: RedisJobQueue) -> None:
    submit_jobs(queue)
    job = claim_one(queue)
    queue.retry([Retry(job, 0, "")])
    assert complete(queue, [job]) == [FinishOutcome.STALE]


@pytest.mark.parametrize("how", [GiveBack, lambda job: Retry(job, 1, "")])
def test_the_same_retry_again_moves_the_job_once(
    queue: RedisJobQueue, how: Callable[[ClaimedJob], Retry | GiveBack]
) -> None:
    submit_jobs(queue)
    job = claim_one(queue)
    assert queue.retry([how(job)]) == [WAITING]
    assert queue.retry([how(job)]) == [WAITING]
    observation = queue.observe()
    assert observation.length + observation.delayed == 1


def test_a_redriven_job_has_all_its_attempts(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue, data=b"[42]")
    bury(queue, job_id, raw)
    assert queue.redrive([job_id, "nobody"]) == [RedriveOutcome.WAITING, RedriveOutcome.NOT_DEAD]
    assert queue.redrive([job_id]) == [RedriveOutcome.NOT_DEAD]
    job = read(queue, job_id)
    assert (job.status, job.error, job.attempts) == (JobStatus.PENDING, None, 0)
    claimed = claim_one(queue)
    assert (claimed.data, claimed.attempt) == (b"[42]", 1)
    assert queue.dead_letters() == []
    assert queue.observe().counters["redriven"] == 1


def test_a_dead_letter_without_data_cannot_be_redriven(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue)
    bury(queue, job_id, raw)
    raw.delete(f"job:{job_id}:data")
    assert queue.redrive([job_id]) == [RedriveOutcome.DATA_GONE]
    assert (queue.dead_letters(), status(queue, job_id)) == ([], JobStatus.FAILED)


def test_dead_letters_are_capped_and_listed_newest_first(make_queue: MakeQueue, raw: redis.Redis) -> None:
    queue = make_queue(max_dead=2)
    submitted = submit_jobs(queue, 3)
    for job_id in submitted:
        bury(queue, job_id, raw)
    assert [letter.job_id for letter in queue.dead_letters()] == [submitted[2], submitted[1]]
    assert [letter.job_id for letter in queue.dead_letters(1)] == [submitted[2]]


def test_nothing_to_redrive_is_nothing(queue: RedisJobQueue) -> None:
    assert (queue.redrive([]), queue.retry([]), queue.dead_letters()) == ([], [], [])
