"""Lost replies: Redis has run the script, the connection is cut before its answer; the client asks again."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import redis

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.connection import connect, connect_async
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import (
    Accepted,
    CancelOutcome,
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
from inferqueue_core.protocol import (
    CANCEL,
    CLAIM,
    EXTEND,
    FINISH,
    OBSERVE,
    REAP,
    REDRIVE,
    RETIRE,
    RETRY,
    SUBMIT,
    Script,
)
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.cutting_proxy import CuttingProxy
from support.jobs import WORKER, claim, claim_one, complete, read, status, submit_jobs
from support.redis_servers import RedisServer

Lose = Callable[[Script], None]


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[CuttingProxy]:
    with CuttingProxy(redis_server.socket) as proxy:
        yield proxy
        assert proxy.cuts == 1, "no reply was lost"


@pytest.fixture
def queue(proxy: CuttingProxy) -> Iterator[RedisJobQueue]:
    with connect(RedisSettings(redis_url=proxy.url)) as client:
        yield RedisJobQueue(client, "predict_queue", QueuePolicy())


@pytest.fixture
def lose(proxy: CuttingProxy, raw: redis.Redis) -> Lose:
    """Lose the reply of the next call of a script, which Redis knows already."""

    def lose(script: Script) -> None:
        raw.script_load(script.text)
        proxy.cut_next(script.sha.encode())

    return lose


def test_submit_is_accepted_once(queue: RedisJobQueue, lose: Lose) -> None:
    submission = Submission((NewJob(new_job_id(), b"[1]"), NewJob(new_job_id(), b"[2]")), Idempotency("key", "print"))
    ids = tuple(job.id for job in submission.jobs)
    lose(SUBMIT)
    assert queue.submit([submission]) == [Accepted(ids, 0)]
    observation = queue.observe()
    assert (observation.length, observation.counters["submitted"]) == (2, 2)


def test_an_asynchronous_submit_is_accepted_once(proxy: CuttingProxy, queue: RedisJobQueue, lose: Lose) -> None:
    async def submit() -> None:
        client = connect_async(RedisSettings(redis_url=proxy.url))
        job = NewJob(new_job_id(), b"[1]")
        outcomes = await AsyncRedisJobQueue(client, "predict_queue", QueuePolicy()).submit([Submission((job,))])
        assert outcomes == [Accepted((job.id,), 0)]
        await client.aclose()

    lose(SUBMIT)
    asyncio.run(submit())
    assert queue.observe().counters["submitted"] == 1


def test_claim_gives_the_very_same_jobs(queue: RedisJobQueue, lose: Lose) -> None:
    submitted = submit_jobs(queue, 5)
    held_before = claim(queue, 1)
    lose(CLAIM)
    jobs = claim(queue, 3)
    assert sorted(job.id for job in jobs) == sorted(submitted[1:4])
    assert [(job.attempt, job.data) for job in jobs] == [(1, b"[1]")] * 3
    observation = queue.observe()
    assert (observation.length, observation.in_flight) == (1, 4)
    assert complete(queue, held_before + jobs) == [FinishOutcome.STORED] * 4


def test_a_claim_of_nothing_may_find_something_at_its_second_try(queue: RedisJobQueue, lose: Lose) -> None:
    lose(CLAIM)
    assert claim(queue) == []


def test_extend_answers_as_the_first_time(queue: RedisJobQueue, lose: Lose) -> None:
    submit_jobs(queue)
    jobs = claim(queue)
    lose(EXTEND)
    assert queue.extend(WORKER, WorkerReport(), jobs).leases == (LeaseState.HELD,)


def test_finish_is_stored_and_counted_once(queue: RedisJobQueue, lose: Lose) -> None:
    (job_id,) = submit_jobs(queue)
    job = claim_one(queue)
    lose(FINISH)
    assert complete(queue, [job], b"1") == [FinishOutcome.STORED_BEFORE]
    assert read(queue, job_id).result == b"1"
    assert dict(queue.observe().counters) == {"submitted": 1, "completed": 1}


@pytest.mark.parametrize(
    ("how", "length", "delayed"), [(GiveBack, 1, 0), (lambda job: Retry(job, 60, "no memory"), 0, 1)]
)
def test_retry_puts_the_job_back_once(
    queue: RedisJobQueue, lose: Lose, how: Callable[..., Retry | GiveBack], length: int, delayed: int
) -> None:
    submit_jobs(queue)
    job = claim_one(queue)
    lose(RETRY)
    assert queue.retry([how(job)]) == [RetryOutcome.WAITING]
    observation = queue.observe()
    assert (observation.length, observation.delayed) == (length, delayed)
    assert observation.counters.get("retried", 0) == delayed


def test_retry_makes_one_dead_letter(queue: RedisJobQueue, raw: redis.Redis, lose: Lose) -> None:
    (job_id,) = submit_jobs(queue)
    raw.set(f"job:{job_id}:owner", "2::", ex=60)
    job = claim_one(queue)
    lose(RETRY)
    assert queue.retry([Retry(job, 0, "no memory")]) == [RetryOutcome.DEAD]
    assert [letter.job_id for letter in queue.dead_letters()] == [job_id]
    assert queue.observe().counters["dead"] == 1


def test_cancel_ends_once(queue: RedisJobQueue, lose: Lose) -> None:
    (job_id,) = submit_jobs(queue)
    lose(CANCEL)
    assert queue.cancel(job_id) == CancelOutcome("ended", JobStatus.CANCELED)
    assert queue.observe().counters["canceled"] == 1


def test_reap_puts_back_once(
    queue: RedisJobQueue, lose: Lose, let_leases_run_out: Callable[[], None], reap: Callable[[], Reaped]
) -> None:
    (job_id,) = submit_jobs(queue)
    claim(queue)
    let_leases_run_out()
    lose(REAP)
    RedisJobQueue(queue._redis, "predict_queue", QueuePolicy(lease=0.5)).reap()
    assert status(queue, job_id) is JobStatus.PENDING
    observation = queue.observe()
    assert (observation.length, observation.counters["retried"]) == (1, 1)


def test_retire_answers_as_the_first_time(queue: RedisJobQueue, lose: Lose) -> None:
    lose(RETIRE)
    assert queue.retire(["a", "b"]) == {"a", "b"}


def test_redrive_puts_back_once(queue: RedisJobQueue, raw: redis.Redis, lose: Lose) -> None:
    (job_id,) = submit_jobs(queue)
    raw.set(f"job:{job_id}:owner", "2::", ex=60)
    queue.retry([Retry(claim_one(queue), 0, "")])
    lose(REDRIVE)
    assert queue.redrive([job_id]) == [RedriveOutcome.NOT_DEAD]
    assert (queue.observe().length, status(queue, job_id)) == (1, JobStatus.PENDING)


def test_observe_looks_again(queue: RedisJobQueue, lose: Lose) -> None:
    submit_jobs(queue)
    lose(OBSERVE)
    assert queue.observe().length == 1


def test_a_first_call_that_sends_the_script_itself_is_repeated(
    proxy: CuttingProxy, queue: RedisJobQueue, raw: redis.Redis
) -> None:
    submitted = submit_jobs(queue)
    raw.script_flush()
    proxy.cut_next(CLAIM.text[-200:].encode())
    assert [job.id for job in claim(queue)] == submitted
