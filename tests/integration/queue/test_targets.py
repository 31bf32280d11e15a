"""Jobs that name their model and version, and queues that belong to one model."""

import asyncio
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.connection import connect_async
from inferqueue_core.errors import QueueOwnedError
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import (
    Claimant,
    ClaimedJob,
    Completed,
    FinishOutcome,
    GiveBack,
    JobStatus,
    JobTarget,
    NewJob,
    RanModel,
    Retry,
    SetAside,
    Submission,
    WorkerReport,
)
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import WORKER, MakeQueue, claim, read, status, submit_jobs

IRIS = Claimant("iris", "2", "takes-four")
FOR_IRIS = JobTarget(model="iris", version="2", signature="takes-four")
FOR_ROSE = JobTarget(model="rose", version="1", signature="takes-four")
OLD = JobTarget(model="iris", version="1", signature="takes-three")
ROSE = WorkerReport(model="rose", version="1")


def submit(queue: RedisJobQueue, target: JobTarget, deadline_seconds: float = 0) -> str:
    job_id = new_job_id()
    queue.submit([Submission((NewJob(job_id, b"[1]", deadline_seconds, target),))])
    return job_id


def claim_as(queue: RedisJobQueue, claimant: Claimant = IRIS, limit: int = 100) -> tuple[list[str], list[str]]:
    """Claim, and give the ids of what was leased and of what was set aside."""
    claimed = queue.claim(WORKER, limit, 1 << 30, 1, claimant)
    return [job.id for job in claimed.jobs], [job.id for job in claimed.set_aside]


@pytest.mark.parametrize(
    ("target", "claimant", "fate"),
    [
        (FOR_IRIS, IRIS, "own"),
        (JobTarget(), IRIS, "own"),
        (JobTarget(model="iris"), IRIS, "own"),
        (FOR_ROSE, IRIS, "aside"),
        (replace(FOR_IRIS, version="1"), IRIS, "own"),
        (replace(FOR_IRIS, version="1", pinned=True), IRIS, "aside"),
        (OLD, IRIS, "aside"),
        (OLD, replace(IRIS, absent=frozenset({"1"})), "adopted"),
        (OLD, replace(IRIS, absent=frozenset({"11"})), "aside"),
        (replace(OLD, pinned=True), replace(IRIS, absent=frozenset({"1"})), "aside"),
        (replace(OLD, pinned=True), replace(IRIS, absent=frozenset({"1"}), gone=frozenset({"1"})), "adopted"),
        (FOR_ROSE, replace(IRIS, absent=frozenset({"1"}), gone=frozenset({"1"})), "aside"),
        (replace(OLD, signature=""), replace(IRIS, signature=""), "aside"),
    ],
)
def test_who_may_run_a_job(queue: RedisJobQueue, target: JobTarget, claimant: Claimant, fate: str) -> None:
    job_id = submit(queue, target)
    found = queue.claim(WORKER, 1, 1 << 30, 1, claimant)
    told = replace(target, queue="predict_queue")
    assert found.set_aside == ((SetAside(job_id, told),) if fate == "aside" else ())
    assert [job.made_for for job in found.jobs] == {"own": [None], "adopted": [told], "aside": []}[fate]


def test_what_is_set_aside_waits_unharmed_and_blocks_nobody(queue: RedisJobQueue, raw: redis.Redis) -> None:
    foreign = [submit(queue, FOR_ROSE) for _ in range(5)]
    own = submit(queue, FOR_IRIS)
    assert claim_as(queue) == ([own], foreign)
    assert claim_as(queue) == ([], [])
    assert [(job.status, job.attempts) for job in queue.jobs(foreign) if job] == [(JobStatus.PENDING, 0)] * 5
    assert queue.observe().delayed == 5
    for job_id in foreign:
        raw.zadd("predict_queue:delayed", {job_id: 1})
    assert sorted(claim_as(queue, Claimant("rose", "1"))[0]) == sorted(foreign)


def test_the_more_jobs_are_set_aside_the_longer_they_wait(queue: RedisJobQueue, raw: redis.Redis) -> None:
    target = replace(OLD, pinned=True)
    ids = [new_job_id() for _ in range(900)]
    queue.submit([Submission(tuple(NewJob(job_id, b"[1]", 0, target) for job_id in ids))])
    while claim_as(queue, limit=50)[1]:
        pass
    first, last = (raw.zscore("predict_queue:delayed", job_id) for job_id in (ids[0], ids[-1]))
    assert first is not None
    assert last is not None
    assert last - first > 500


def test_the_deadline_of_a_job_that_is_set_aside_still_counts(queue: RedisJobQueue, raw: redis.Redis) -> None:
    job_id = submit(queue, FOR_ROSE, deadline_seconds=1000)
    assert claim_as(queue) == ([], [job_id])
    raw.zadd("predict_queue:deadlines", {job_id: 1})
    assert queue.reap().expired == 1
    assert status(queue, job_id) is JobStatus.EXPIRED
    raw.zadd("predict_queue:delayed", {job_id: 1})
    assert claim_as(queue) == ([], [])
    assert queue.observe().delayed == 0


def test_a_job_that_is_set_aside_is_canceled_as_any_other(queue: RedisJobQueue) -> None:
    job_id = submit(queue, FOR_ROSE)
    claim_as(queue)
    assert queue.cancel(job_id).kind == "canceled"
    assert status(queue, job_id) is JobStatus.CANCELED


def test_whoever_claims_for_no_model_gets_everything(queue: RedisJobQueue) -> None:
    ids = [submit(queue, FOR_ROSE), submit(queue, FOR_IRIS)]
    assert [job.id for job in claim(queue)] == ids


@pytest.mark.parametrize(
    "owner", [b"", b"0", b"0::", b"0@::", b"0@q/rose::", b"rose", b"@q/rose/1//::", b"\xff", b"0@q//1//::"]
)
def test_what_a_stranger_wrote_as_owner_says_nothing(queue: RedisJobQueue, raw: redis.Redis, owner: bytes) -> None:
    job_id = submit(queue, FOR_ROSE)
    raw.set(f"job:{job_id}:owner", owner, keepttl=True)
    assert claim_as(queue) == ([job_id], [])


@pytest.mark.parametrize("name", ["a:b", "a b@c", "100 %", "ä,ö"])
def test_any_name_of_a_model_is_told_from_others(queue: RedisJobQueue, name: str) -> None:
    target = JobTarget(model=name, version="1")
    job_id = submit(queue, target)
    assert queue.extend(WORKER, WorkerReport(model=name), []).other_owner is None
    assert queue.observe().model == name
    with pytest.raises(QueueOwnedError, match=f"model {name!r}"):
        claim_as(queue)
    assert claim_as(queue, Claimant(name, "1")) == ([job_id], [])


def test_a_foreign_job_that_a_naive_producer_pushed_is_set_aside(queue: RedisJobQueue, raw: redis.Redis) -> None:
    raw.set("job:by-hand:data", "[1]", ex=60)
    raw.set("job:by-hand:owner", "0@predict_queue/rose/1//::", ex=60)
    raw.lpush("predict_queue", "by-hand")
    assert claim_as(queue) == ([], ["by-hand"])


def test_a_lost_reply_is_told_again_with_what_was_adopted(queue: RedisJobQueue) -> None:
    job_id = submit(queue, OLD)
    claimant = replace(IRIS, absent=frozenset({"1"}))
    call = queue._protocol.claim(WORKER, "nonce", 1, 1, 1, claimant)
    first, again = queue._run(call), queue._run(call.resent())
    assert first == again
    assert [(job.id, job.made_for) for job in again.jobs] == [(job_id, replace(OLD, queue="predict_queue"))]


def test_a_job_is_for_the_same_as_long_as_it_has_data(make_queue: MakeQueue, raw: redis.Redis) -> None:
    queue = make_queue(max_attempts=1)
    job_id = submit(queue, FOR_IRIS)
    keys = [f"job:{job_id}:{part}" for part in ("data", "owner")]
    (job,) = queue.claim(WORKER, 1, 1, 1, IRIS).jobs
    queue.retry([GiveBack(job)])
    (job,) = queue.claim(WORKER, 1, 1, 1, IRIS).jobs
    assert {raw.pttl(key) for key in keys} == {-1}
    queue.retry([Retry(job, 0, "no memory")])
    assert status(queue, job_id) is JobStatus.FAILED
    assert all(raw.ttl(key) > 86_400 for key in keys)
    queue.redrive([job_id])
    assert all(raw.ttl(key) <= 3600 for key in keys)
    assert claim_as(queue, Claimant("rose", "1")) == ([], [job_id])
    raw.zadd("predict_queue:delayed", {job_id: 1})
    (job,) = queue.claim(WORKER, 1, 1, 1, IRIS).jobs
    queue.finish([Completed(job, b"1")])
    assert not raw.exists(keys[0])
    assert b"iris" not in (raw.get(keys[1]) or b"")


def test_an_ended_job_names_what_ran(queue: RedisJobQueue) -> None:
    ran = RanModel("iris", "2", "sha256:ab")
    (job_id,) = submit_jobs(queue)
    (job,) = claim(queue)
    assert read(queue, job_id).model is None
    assert queue.finish([Completed(job, b"1")], ran) == [FinishOutcome.STORED]
    assert queue.finish([Completed(job, b"2")], ran) == [FinishOutcome.STORED_BEFORE]
    ended = read(queue, job_id)
    assert (ended.model, ended.worker, ended.attempts, ended.result) == (ran, WORKER, 1, b"1")
    assert ended.completed_at is not None


def test_jobs_are_moved_to_the_queue_of_their_model(queue: RedisJobQueue, raw: redis.Redis) -> None:
    ids = [submit(queue, FOR_ROSE, deadline_seconds=1000), submit(queue, FOR_ROSE), submit(queue, FOR_ROSE)]
    found = queue.claim(WORKER, 9, 1, 1, IRIS).set_aside
    queue.cancel(ids[2])
    assert queue.move(found, "roses") == 2
    assert queue.move(found, "roses") == 0
    roses = queue.sibling("roses")
    told = replace(FOR_ROSE, queue="roses")
    assert [raw.zcard(key) for key in ("predict_queue:deadlines", "roses:deadlines")] == [0, 1]
    assert claim_as(roses, Claimant("iris", "1")) == ([], ids[:2])
    assert {job.target for job in roses.claim(WORKER, 9, 1, 1, Claimant("iris", "1")).set_aside} <= {told}
    counters = [dict(place.observe().counters) for place in (queue, roses)]
    assert counters == [{"submitted": 3, "canceled": 1, "moved": 2}, {"submitted": 2}]


def drained(queue: RedisJobQueue, *, pinned_only: bool, limit: int = 100) -> list[str]:
    found = queue.drain(WORKER, limit, 1 << 30, Claimant("iris", "1"), pinned_only=pinned_only)
    assert found.set_aside == ()
    return [job.id for job in found.jobs]


def test_a_drain_takes_what_only_its_version_may_run_wherever_it_waits(queue: RedisJobQueue) -> None:
    submit_jobs(queue)
    pinned, loose = submit(queue, replace(OLD, pinned=True)), submit(queue, OLD)
    assert len(claim_as(queue, limit=2)[1]) == 1
    others = [submit(queue, FOR_IRIS), submit(queue, FOR_ROSE)]
    queue.retire([WORKER])
    assert drained(queue, pinned_only=True) == [pinned]
    assert drained(queue, pinned_only=False) == [loose]
    assert drained(queue, pinned_only=False) == []
    assert [job.id for job in claim(queue, worker="another")] == others


def test_a_drain_says_when_more_waits_than_it_has_looked_at(queue: RedisJobQueue) -> None:
    submit_jobs(queue, 1001)
    buried = submit(queue, OLD)
    assert drained(queue, pinned_only=False) == []
    assert queue.drain(WORKER, 1, 1, Claimant("iris", "1"), pinned_only=False).more_below
    claim(queue, 100)
    assert drained(queue, pinned_only=False) == [buried]


def test_a_drain_keeps_to_its_limits_and_to_the_order(queue: RedisJobQueue) -> None:
    ids = [submit(queue, OLD) for _ in range(6)]
    assert drained(queue, pinned_only=False, limit=2) == ids[:2]
    found = queue.drain(WORKER, 100, 1, Claimant("iris", "1"), pinned_only=False)
    assert [job.id for job in found.jobs] == ids[2:3]
    assert drained(queue, pinned_only=False) == ids[3:]


def test_the_first_model_gets_a_queue_and_keeps_it_while_a_worker_lives(queue: RedisJobQueue) -> None:
    assert queue.extend("a", WorkerReport(model="iris"), []).other_owner is None
    assert queue.extend("b", ROSE, []).other_owner == "iris"
    assert [worker.name for worker in queue.observe().workers] == ["a"]
    assert queue.extend("c", WorkerReport(model="iris", version="2"), []).other_owner is None
    queue.forget_worker("a")
    assert queue.extend("b", ROSE, []).other_owner == "iris"
    queue.forget_worker("c")
    assert queue.observe().model == "iris"
    assert queue.extend("b", ROSE, []).other_owner is None
    assert queue.observe().model == "rose"
    assert queue.extend("a", WorkerReport(model="iris"), []).other_owner == "rose"


def test_a_queue_may_be_taken_from_workers_that_fell_silent(queue: RedisJobQueue, raw: redis.Redis) -> None:
    queue.extend("a", WorkerReport(model="iris"), [])
    raw.zincrby("predict_queue:workers", -59_000, "a")
    assert queue.extend("b", ROSE, []).other_owner == "iris"
    raw.zincrby("predict_queue:workers", -2_000, "a")
    assert queue.extend("b", ROSE, []).other_owner is None


def test_a_worker_whose_queue_was_taken_claims_nothing_and_keeps_its_leases(queue: RedisJobQueue) -> None:
    queue.extend(WORKER, WorkerReport(model="iris"), [])
    submit_jobs(queue, 2)
    held = queue.claim(WORKER, 1, 1, 1, IRIS).jobs
    queue.forget_worker(WORKER)
    queue.extend("b", ROSE, [])
    with pytest.raises(QueueOwnedError, match=r"'predict_queue' belongs to model 'rose'.*'iris'.*QUEUE_NAME"):
        queue.claim(WORKER, 1, 1, 1, IRIS)
    with pytest.raises(QueueOwnedError):
        queue.drain(WORKER, 1, 1, IRIS, pinned_only=True)
    beat = queue.extend(WORKER, WorkerReport(model="iris"), held)
    assert (beat.other_owner, [state.value for state in beat.leases]) == ("rose", ["held"])
    assert queue.finish([Completed(held[0], b"1")]) == [FinishOutcome.STORED]
    assert len(queue.claim("b", 9, 1, 1, Claimant("rose", "1")).jobs) == 1


def test_a_report_without_a_model_takes_no_queue(queue: RedisJobQueue) -> None:
    queue.extend("a", WorkerReport(model="iris"), [])
    assert queue.extend("b", WorkerReport(), []).other_owner is None
    assert queue.observe().model == "iris"


def test_the_asynchronous_client_tells_what_a_job_is_for(queue: RedisJobQueue, redis_settings: RedisSettings) -> None:
    job_id = submit(queue, FOR_ROSE)

    async def targets() -> list[JobTarget]:
        client = connect_async(redis_settings)
        other = AsyncRedisJobQueue(client, "another", QueuePolicy())
        try:
            return [await other.target(job_id), await other.target("nobody")]
        finally:
            await client.aclose()

    assert asyncio.run(targets()) == [replace(FOR_ROSE, queue="predict_queue"), JobTarget()]


def test_a_claimed_job_of_its_own_version_says_no_other() -> None:
    assert ClaimedJob("x", "1:1-a:w", b"").made_for is None


def test_a_queue_named_by_a_stranger_is_none(queue: RedisJobQueue, raw: redis.Redis) -> None:
    job_id = submit(queue, FOR_ROSE)
    raw.set(f"job:{job_id}:owner", "0@job%3A1/rose/1//::", keepttl=True)
    (found,) = queue.claim(WORKER, 1, 1, 1, IRIS).set_aside
    told: Any = found.target
    assert told == JobTarget()
