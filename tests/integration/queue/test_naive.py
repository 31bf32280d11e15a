"""Programs that know five keys only (SET, LPUSH; BRPOP, SET) share a queue with ours."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from inferqueue_core.jobs import FinishOutcome, JobStatus, Reaped
from inferqueue_core.queue import RedisJobQueue
from support.jobs import claim, claim_one, complete, read, status, submit_jobs

Move = Callable[[], None]
Reap = Callable[[], Reaped]

QUEUE = "predict_queue"
TTL = 60


def naive_submit(raw: redis.Redis, job_id: str, *, with_status: bool = True, ttl: int | None = None) -> str:
    raw.set(f"job:{job_id}:data", json.dumps([len(job_id)]), ex=ttl)
    if with_status:
        raw.set(f"job:{job_id}:status", "pending", ex=ttl)
    raw.lpush(QUEUE, job_id)
    return job_id


def naive_work(raw: redis.Redis) -> str | None:
    """Do one job as the simplest worker does; return its id."""
    popped: Any = raw.brpop([QUEUE], timeout=0.1)
    if popped is None:
        return None
    job_id: str = popped[1].decode()
    data = raw.get(f"job:{job_id}:data")
    if data is None:
        return job_id
    raw.set(f"job:{job_id}:status", "processing", ex=TTL)
    raw.set(f"job:{job_id}:result", json.dumps({"echo": json.loads(data)}), ex=TTL)
    raw.set(f"job:{job_id}:status", "completed", ex=TTL)
    raw.delete(f"job:{job_id}:data", f"job:{job_id}:owner")
    return job_id


@pytest.mark.parametrize("with_status", [True, False])
@pytest.mark.parametrize("ttl", [TTL, None])
def test_our_worker_does_the_jobs_of_a_naive_producer(
    queue: RedisJobQueue, raw: redis.Redis, with_status: bool, ttl: int | None
) -> None:
    first = naive_submit(raw, "first", with_status=with_status, ttl=ttl)
    naive_submit(raw, "second.job:2_b-C", with_status=with_status, ttl=ttl)
    jobs = claim(queue)
    assert [(job.id, job.data) for job in jobs] == [("first", b"[5]"), ("second.job:2_b-C", b"[16]")]
    assert status(queue, first) is JobStatus.PROCESSING
    assert complete(queue, jobs, b"1") == [FinishOutcome.STORED] * 2
    assert (read(queue, first).result, read(queue, first).created_at) == (b"1", None)
    assert raw.get("job:first:status") == b"completed"


def test_a_naive_job_whose_worker_dies_runs_again(
    queue: RedisJobQueue, raw: redis.Redis, let_leases_run_out: Move, reap: Reap
) -> None:
    naive_submit(raw, "first", with_status=False)
    claim(queue)
    let_leases_run_out()
    assert reap().put_back == 1
    assert raw.ttl("job:first:data") == -1  # it is owed from the claim on
    assert complete(queue, [claim_one(queue)]) == [FinishOutcome.STORED]


def test_a_naive_worker_does_our_jobs(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submitted = submit_jobs(queue, 2, b'{"x": 1}')
    assert [naive_work(raw), naive_work(raw), naive_work(raw)] == [*submitted, None]
    job = read(queue, submitted[0])
    assert (job.status, job.result) == (JobStatus.COMPLETED, b'{"echo": {"x": 1}}')
    assert queue.cancel(submitted[0]).kind == "ended"


def test_a_naive_worker_finds_no_data_for_a_canceled_job(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue)
    queue.cancel(job_id)
    assert naive_work(raw) == job_id
    assert status(queue, job_id) is JobStatus.CANCELED


def test_a_naive_worker_may_do_what_ours_gave_up(
    queue: RedisJobQueue, raw: redis.Redis, let_leases_run_out: Move, reap: Reap
) -> None:
    (job_id,) = submit_jobs(queue, data=b"7")
    slow = claim_one(queue)
    let_leases_run_out()
    reap()
    assert naive_work(raw) == job_id
    assert complete(queue, [slow], b"slow") == [FinishOutcome.STALE]
    assert read(queue, job_id).result == b'{"echo": 7}'


def test_all_sorts_share_one_queue(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submitted = []
    for n in range(50):
        submitted += submit_jobs(queue, data=b"[0]")
        submitted.append(naive_submit(raw, f"naive-{n}", with_status=n % 2 == 0, ttl=TTL))
    done = []
    while jobs := claim(queue, 3):
        done += [job.id for job in jobs]
        assert complete(queue, jobs) == [FinishOutcome.STORED] * len(jobs)
        job_id = naive_work(raw)
        if job_id is not None:
            done.append(job_id)
    assert done == submitted
    assert {job.status for job in queue.jobs(submitted) if job} == {JobStatus.COMPLETED}
    assert queue.observe().length == 0


def test_a_status_in_a_strangers_words_hides_no_other_job(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (ours,) = submit_jobs(queue)
    raw.set("job:theirs:status", "cooking", ex=TTL)
    theirs, known = queue.jobs(["theirs", ours])
    assert theirs is not None
    assert known is not None
    assert (theirs.status, known.status) == (JobStatus.PROCESSING, JobStatus.PENDING)
