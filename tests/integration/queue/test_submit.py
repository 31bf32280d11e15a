"""What submit accepts, refuses and answers."""

from typing import Any

import pytest
import redis

from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import (
    Accepted,
    AlreadyAccepted,
    Completed,
    Idempotency,
    JobStatus,
    NewJob,
    QueueFull,
    Submission,
    SubmitOutcome,
)
from inferqueue_core.queue import RedisJobQueue
from support.jobs import MakeQueue, claim, claim_one, complete, read, submit_jobs
from support.waiting import wait_until


def group(size: int, key: str | None = None, fingerprint: str = "print") -> Submission:
    jobs = tuple(NewJob(new_job_id(), b"[1]") for _ in range(size))
    return Submission(jobs, None if key is None else Idempotency(key, fingerprint))


def submit(queue: RedisJobQueue, *groups: Submission) -> list[SubmitOutcome]:
    return queue.submit(groups)


def ids(submission: Submission) -> tuple[str, ...]:
    return tuple(job.id for job in submission.jobs)


def test_an_accepted_job_waits(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    job = read(queue, job_id)
    assert (job.status, job.result, job.error, job.attempts) == (JobStatus.PENDING, None, None, 0)
    assert job.created_at is not None
    assert (job.started_at, job.completed_at) == (None, None)


def test_submit_tells_how_many_are_ahead(queue: RedisJobQueue) -> None:
    first, second, third = group(1), group(3), group(1)
    assert submit(queue, first, second) == [Accepted(ids(first), 0), Accepted(ids(second), 1)]
    assert submit(queue, third) == [Accepted(ids(third), 4)]


def test_jobs_are_claimed_in_the_order_of_their_submission(queue: RedisJobQueue) -> None:
    submitted = submit_jobs(queue, 3) + submit_jobs(queue, 2)
    assert [job.id for job in claim(queue)] == submitted


def test_the_data_arrives_as_it_was_sent(queue: RedisJobQueue) -> None:
    data = bytes(range(256)) * 100
    submit_jobs(queue, data=data)
    assert claim_one(queue).data == data


def test_an_idempotency_key_makes_its_jobs_once(queue: RedisJobQueue) -> None:
    first, again = group(2, "key"), group(2, "key")
    assert submit(queue, first) == [Accepted(ids(first), 0)]
    assert submit(queue, again) == [AlreadyAccepted(ids(first), "print")]
    assert queue.jobs(ids(again)) == [None, None]
    assert queue.observe().length == 2


def test_an_idempotency_key_tells_the_fingerprint_of_its_first_request(queue: RedisJobQueue) -> None:
    first = group(1, "key", "one")
    submit(queue, first)
    assert submit(queue, group(1, "key", "two")) == [AlreadyAccepted(ids(first), "one")]


def test_an_idempotency_key_counts_within_one_round_trip(queue: RedisJobQueue) -> None:
    first, second = group(1, "key"), group(1, "key")
    assert submit(queue, first, second) == [Accepted(ids(first), 0), AlreadyAccepted(ids(first), "print")]


def test_an_idempotency_key_outlives_its_job(queue: RedisJobQueue) -> None:
    first = group(1, "key")
    submit(queue, first)
    complete(queue, claim(queue))
    assert submit(queue, group(1, "key")) == [AlreadyAccepted(ids(first), "print")]


def test_a_full_queue_refuses_a_group_wholly(make_queue: MakeQueue) -> None:
    queue = make_queue(max_length=5)
    first, second, third, fourth = group(4), group(2), group(1), group(1)
    assert submit(queue, first, second, third) == [Accepted(ids(first), 0), QueueFull(4), Accepted(ids(third), 4)]
    assert queue.jobs(ids(second)) == [None, None]
    assert submit(queue, fourth) == [QueueFull(5)]
    assert queue.observe().counters["submitted"] == 5


def test_a_refused_group_does_not_bind_its_idempotency_key(make_queue: MakeQueue) -> None:
    queue = make_queue(max_length=1)
    submit_jobs(queue)
    refused, later = group(1, "key"), group(1, "key")
    assert submit(queue, refused) == [QueueFull(1)]
    complete(queue, claim(queue))
    assert submit(queue, later) == [Accepted(ids(later), 0)]


def test_no_limit_is_no_limit(make_queue: MakeQueue) -> None:
    assert len(submit_jobs(make_queue(max_length=0), 1000)) == 1000


def test_a_thousand_jobs_are_one_group(queue: RedisJobQueue) -> None:
    batch = group(1000)
    assert submit(queue, batch) == [Accepted(ids(batch), 0)]
    assert queue.observe().length == 1000


def test_a_repeated_submit_accepts_nothing_twice(queue: RedisJobQueue) -> None:
    batch = group(3, "key")
    submit(queue, batch)
    assert submit(queue, batch) == [Accepted(ids(batch), 0)]
    observation = queue.observe()
    assert (observation.length, observation.counters["submitted"]) == (3, 3)


def test_what_is_owed_has_no_time_to_live_and_what_has_ended_has(make_queue: MakeQueue, raw: redis.Redis) -> None:
    queue = make_queue(max_attempts=1)
    submission = group(1, "key")
    submit(queue, submission)
    (job_id,) = ids(submission)
    keys = [f"job:{job_id}:{part}" for part in ("data", "status", "owner")] + ["idem:key"]
    assert {raw.pttl(key) for key in keys} == {-1}
    (job,) = queue.claim("worker", 1, 1000).jobs
    assert {raw.pttl(key) for key in keys} == {-1}
    queue.finish([Completed(job, b"1")])
    assert not raw.exists(keys[0])
    assert all(3_500_000 < raw.pttl(key) <= 3_600_000 for key in [*keys[1:], f"job:{job_id}:result"])


def test_a_key_is_free_again_when_its_jobs_are_known_no_more(queue: RedisJobQueue, raw: redis.Redis) -> None:
    first, second = group(2, "key"), group(2, "key")
    submit(queue, first)
    assert 89_000_000 < raw.pttl("idem:key") <= 90_000_000  # the longest wait, and JOB_TTL after it
    assert submit(queue, second) == [AlreadyAccepted(ids(first), "print")]
    claim(queue, 2)
    for job_id in ids(first):
        raw.delete(f"job:{job_id}:status")
    assert submit(queue, second) == [Accepted(ids(second), 0)]


def test_only_the_first_job_into_an_empty_queue_wakes(queue: RedisJobQueue, raw: redis.Redis) -> None:
    with raw.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("predict_queue:wake", "end")
        wait_until(lambda: listener.get_message() is None and raw.pubsub_numsub("end")[0][1] == 1)
        submit_jobs(queue)
        submit_jobs(queue, 2)
        claim(queue)
        submit_jobs(queue, 2)
        raw.publish("end", "")
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1]["channel"] != b"end":
            messages.append(wait_until(lambda: listener.get_message(timeout=1)))
    assert [message["data"] for message in messages[:-1]] == [b"1", b"2"]


@pytest.mark.parametrize("deadline", [0.0001, 0.000_001])
def test_a_tiny_deadline_is_still_one(queue: RedisJobQueue, raw: redis.Redis, deadline: float) -> None:
    submit_jobs(queue, deadline_seconds=deadline)
    assert raw.zcard("predict_queue:deadlines") == 1
