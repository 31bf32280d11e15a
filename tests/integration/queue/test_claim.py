"""What claim hands out, in which order, and what it leaves."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from inferqueue_core.jobs import Claim, JobStatus
from inferqueue_core.queue import RedisJobQueue
from support.jobs import WORKER, claim, claim_one, complete, read, status, submit_jobs
from support.waiting import wait_until


def test_a_claimed_job_is_leased_to_its_worker(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue)
    claimed = claim_one(queue)
    job = read(queue, job_id)
    assert (job.status, job.worker, job.attempts) == (JobStatus.PROCESSING, WORKER, 1)
    assert job.started_at is not None
    assert raw.get(f"job:{job_id}:owner") == claimed.fence.encode()
    seconds, microseconds = raw.time()
    deadline = raw.zscore("predict_queue:leases", job_id)
    assert deadline is not None
    assert 25_000 < deadline - (seconds * 1000 + microseconds / 1000) <= 30_000


def test_an_empty_queue_gives_nothing(queue: RedisJobQueue) -> None:
    assert queue.claim(WORKER, 10, 1000) == Claim(())


def test_a_job_is_given_to_one_worker_only(queue: RedisJobQueue) -> None:
    submit_jobs(queue, 3)
    first, second = claim(queue, 2, "a"), claim(queue, 2, "b")
    assert [len(first), len(second)] == [2, 1]
    assert {job.id for job in first}.isdisjoint(job.id for job in second)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_claim_of_no_jobs_takes_none(queue: RedisJobQueue, limit: int) -> None:
    submit_jobs(queue)
    assert claim(queue, limit) == []
    assert queue.claim(WORKER, limit, 1, sharers=2) == Claim(())
    assert queue.observe().length == 1


def test_more_jobs_than_one_chunk_come_in_order(queue: RedisJobQueue) -> None:
    submitted = submit_jobs(queue, 1500)
    assert [job.id for job in claim(queue, 2000)] == submitted[:1000]  # the most that one claim takes
    assert [job.id for job in claim(queue, 2000)] == submitted[1000:]
    assert queue.observe().in_flight == 1500


def test_max_bytes_ends_a_claim_and_keeps_the_order(queue: RedisJobQueue) -> None:
    submitted = submit_jobs(queue, 7, b"x" * 100)
    batches = [[job.id for job in claim(queue, 7, max_bytes=250)] for _ in range(3)]
    assert batches == [submitted[:2], submitted[2:4], submitted[4:6]]


def test_one_job_larger_than_max_bytes_is_still_taken(queue: RedisJobQueue) -> None:
    submitted = submit_jobs(queue, 2, b"x" * 100)
    assert [job.id for job in claim(queue, 2, max_bytes=1)] == submitted[:1]


def test_sharers_take_their_part_and_leave_nothing(queue: RedisJobQueue) -> None:
    submit_jobs(queue, 10)
    sizes = [len(queue.claim(f"w{n}", 100, 1 << 30, sharers=4).jobs) for n in range(6)]
    assert sizes == [3, 2, 2, 1, 1, 1]


def test_a_job_that_was_pushed_twice_runs_once(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submitted = submit_jobs(queue, 2)
    raw.lpush("predict_queue", submitted[0], submitted[0])
    assert [job.id for job in claim(queue)] == submitted
    raw.lpush("predict_queue", submitted[1])
    assert claim(queue) == []


def test_a_late_job_that_was_pushed_twice_is_not_run(queue: RedisJobQueue, raw: redis.Redis) -> None:
    (job_id,) = submit_jobs(queue, deadline_seconds=60)
    raw.lpush("predict_queue", job_id)
    raw.zadd("predict_queue:deadlines", {job_id: 1})
    assert claim(queue) == []
    assert status(queue, job_id) is JobStatus.EXPIRED


def test_an_ended_job_that_is_pushed_again_is_skipped(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submitted = submit_jobs(queue)
    complete(queue, claim(queue), b"1")
    raw.lpush("predict_queue", *submitted)
    later = submit_jobs(queue)
    assert [job.id for job in claim(queue, 1)] == later
    assert read(queue, submitted[0]).result == b"1"


def test_a_processing_job_without_lease_may_be_pushed_back_by_hand(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submitted = submit_jobs(queue)
    claim(queue)
    raw.zrem("predict_queue:leases", *submitted)
    raw.lpush("predict_queue", *submitted)
    assert claim_one(queue).attempt == 2


def test_ids_without_any_key_are_skipped(queue: RedisJobQueue, raw: redis.Redis) -> None:
    raw.lpush("predict_queue", *(f"ghost{n}" for n in range(50)))
    submitted = submit_jobs(queue)
    assert [job.id for job in claim(queue, 2)] == submitted
    assert raw.keys("job:ghost*") == []


def test_a_job_whose_data_ran_out_ends_as_expired(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submitted = submit_jobs(queue, 2)
    raw.delete(f"job:{submitted[0]}:data")
    assert [job.id for job in claim(queue)] == submitted[1:]
    job = read(queue, submitted[0])
    assert (job.status, job.error) == (JobStatus.EXPIRED, "its data is gone")
    assert queue.observe().counters["expired"] == 1


@pytest.mark.parametrize("job_id", [b"\xff\xfe", b"a b", b"\n", b"x" * 129, "café".encode()])
def test_an_id_that_nobody_could_ask_for_fails_alone(queue: RedisJobQueue, raw: redis.Redis, job_id: bytes) -> None:
    raw.set(b"job:" + job_id + b":data", b"[1]", ex=60)
    raw.lpush("predict_queue", job_id)
    submitted = submit_jobs(queue)
    assert [job.id for job in claim(queue)] == submitted
    assert raw.get(b"job:" + job_id + b":status") == b"failed"
    assert b"job id" in (raw.get(b"job:" + job_id + b":error") or b"")
    assert raw.exists(b"job:" + job_id + b":data") == 0


def test_an_odd_id_in_the_queue_does_not_blind_an_observer(queue: RedisJobQueue, raw: redis.Redis) -> None:
    raw.lpush("predict_queue", b"\xff")
    assert queue.observe(samples=1).samples == ((0, None),)


def test_a_worker_name_with_a_colon_is_refused(queue: RedisJobQueue) -> None:
    with pytest.raises(ValueError, match="'a:b' holds ':'"):
        queue.claim("a:b", 1, 1)


def test_waiting_takes_nothing(queue: RedisJobQueue) -> None:
    submit_jobs(queue)
    queue.wait(4)
    assert queue.observe().length == 1


def test_waiting_ends_after_its_time(queue: RedisJobQueue) -> None:
    queue.wait(0)
    queue.wait(0.05)


def test_waiting_ends_when_a_job_comes(queue: RedisJobQueue, raw: redis.Redis) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(queue.wait, 4)
        wait_until(lambda: raw.info("clients")["blocked_clients"] == 1)
        submitted = submit_jobs(queue)
        waiting.result(2)
    assert status(queue, submitted[0]) is JobStatus.PENDING
