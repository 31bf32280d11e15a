"""Leases: heartbeats lengthen them, the reaper takes those that ran out."""

from collections.abc import Callable

import redis

from inferqueue_core.jobs import FinishOutcome, Heartbeat, JobStatus, LeaseState, Reaped, WorkerReport
from inferqueue_core.queue import RedisJobQueue
from support.jobs import WORKER, MakeQueue, claim, claim_one, complete, read, status, submit_jobs

HELD, LOST, CANCEL_REQUESTED = LeaseState.HELD, LeaseState.LOST, LeaseState.CANCEL_REQUESTED
NOTHING = Reaped(0, 0, 0, 0)
Reap = Callable[[], Reaped]


def test_a_heartbeat_keeps_a_lease(
    queue: RedisJobQueue, raw: redis.Redis, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    let_leases_run_out()
    assert queue.extend(WORKER, None, [job]) == Heartbeat(False, (HELD,))
    assert reap() == NOTHING
    assert all(raw.ttl(f"job:{job_id}:{part}") == -1 for part in ("data", "owner", "status"))


def test_a_heartbeat_tells_each_lost_job(
    queue: RedisJobQueue, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    submit_jobs(queue, 3)
    jobs = claim(queue)
    complete(queue, jobs[:1])
    let_leases_run_out()
    assert queue.extend(WORKER, None, jobs[:2]).leases == (LOST, HELD)
    assert reap().put_back == 1
    claim(queue, worker="other")
    assert queue.extend(WORKER, None, jobs).leases == (LOST, HELD, LOST)


def test_a_job_whose_keys_ran_out_while_it_ran_is_expired(
    queue: RedisJobQueue, raw: redis.Redis, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    (job_id,) = submit_jobs(queue)
    claim(queue)
    raw.delete(f"job:{job_id}:data", f"job:{job_id}:status")
    let_leases_run_out()
    assert reap() == Reaped(0, 0, 1, 0)
    assert status(queue, job_id) is JobStatus.EXPIRED


def test_a_heartbeat_of_many_jobs(queue: RedisJobQueue) -> None:
    submit_jobs(queue, 1000)
    assert queue.extend(WORKER, WorkerReport(), claim(queue, 1000)).leases == (HELD,) * 1000


def test_jobs_of_a_silent_worker_go_back_to_the_front_in_order(
    queue: RedisJobQueue, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    submitted = submit_jobs(queue, 6)
    claim(queue, 4)
    let_leases_run_out()
    assert reap() == Reaped(4, 0, 0, 0)
    assert reap() == NOTHING
    job = read(queue, submitted[0])
    assert (job.status, job.attempts, job.worker) == (JobStatus.PENDING, 1, None)
    again = claim(queue)
    # Jobs of one claim have one deadline; among them the id decides, which orders them by the millisecond.
    assert [job.id for job in again] == sorted(submitted[:4]) + submitted[4:]
    assert [job.attempt for job in again] == [2, 2, 2, 2, 1, 1]


def test_a_job_that_cost_two_workers_goes_behind(
    queue: RedisJobQueue, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    poison, other = submit_jobs(queue, 2)
    for _ in range(2):
        assert claim_one(queue).id == poison
        let_leases_run_out()
        reap()
    assert [job.id for job in claim(queue)] == [other, poison]


def test_after_max_attempts_a_job_is_a_dead_letter(
    queue: RedisJobQueue, raw: redis.Redis, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    (job_id,) = submit_jobs(queue)
    reaped, last = NOTHING, None
    for attempt in range(1, 4):
        last = claim_one(queue, f"w{attempt}")
        assert last.attempt == attempt
        let_leases_run_out()
        reaped = reap()
    assert last is not None
    assert reaped == Reaped(0, 1, 0, 0)
    message = "its worker vanished at each of 3 attempts (MAX_ATTEMPTS); the last was w3"
    job = read(queue, job_id)
    assert (job.status, job.error, job.attempts) == (JobStatus.FAILED, message, 3)
    (letter,) = queue.dead_letters()
    assert (letter.job_id, letter.error, letter.attempts) == (job_id, message, 3)
    assert letter.died_at == job.completed_at
    assert claim(queue) == []
    assert complete(queue, [last]) == [FinishOutcome.STALE]
    assert raw.pttl(f"job:{job_id}:data") > 6 * 86_400_000


def test_a_reaped_job_without_data_ends_as_expired(
    queue: RedisJobQueue, raw: redis.Redis, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    (job_id,) = submit_jobs(queue)
    claim(queue)
    raw.delete(f"job:{job_id}:data")
    let_leases_run_out()
    assert reap() == Reaped(0, 0, 1, 0)
    assert read(queue, job_id).error == "its data is gone"


def test_the_reaper_leaves_ended_jobs_alone(
    queue: RedisJobQueue, raw: redis.Redis, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    (job_id,) = submit_jobs(queue)
    claim(queue)
    raw.set(f"job:{job_id}:status", "completed", ex=60)
    let_leases_run_out()
    assert reap() == NOTHING
    assert raw.zcard("predict_queue:leases") == 0
    assert status(queue, job_id) is JobStatus.COMPLETED


def test_more_leases_than_one_pass_takes_are_reaped_at_once(
    queue: RedisJobQueue, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    submit_jobs(queue, 600)
    claim(queue, 600)
    let_leases_run_out()
    assert reap().put_back == 600


def test_after_a_restart_of_redis_the_reaper_waits_for_the_workers(
    make_queue: MakeQueue, let_leases_run_out: Callable[[], None], reap: Reap
) -> None:
    patient = make_queue(lease=3600)
    submit_jobs(patient)
    claim(patient)
    let_leases_run_out()
    assert patient.reap() == NOTHING
    assert reap().put_back == 1
