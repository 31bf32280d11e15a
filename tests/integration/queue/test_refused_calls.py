"""A result that Redis does not take fails its job, and no other; an outage fails none."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.connection import connect, connect_async
from inferqueue_core.errors import QueueRefusedError
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import Completed, Ending, Failed, FinishOutcome, JobStatus, NewJob, Submission
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import FOREVER, RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from inferqueue_worker.settling import PORTION_BYTES, finish
from support.jobs import claim, claim_one, read, status, submit_jobs
from support.redis_servers import RedisServer

# Redis lets neither limit be below 1 MiB.
LARGE = b"x" * 2_000_000


def patient_queue(redis: RedisServer) -> RedisJobQueue:
    """A queue as a runner of a worker has it, which waits for the end of any outage."""
    client = connect(RedisSettings(redis_url=redis.url)).client()
    return RedisJobQueue(client, "predict_queue", QueuePolicy(), patience=FOREVER)


@pytest.fixture(params=["proto-max-bulk-len", "client-query-buffer-limit"])
def strict_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(f"--{request.param}", "1mb") as server:
        yield server


def test_a_call_that_redis_refuses_ends_although_redis_answers(strict_redis: RedisServer) -> None:
    queue = patient_queue(strict_redis)
    submit_jobs(queue)
    with pytest.raises(QueueRefusedError, match=r"answers, but has refused a call of 2,000,\d\d\d bytes 3 times"):
        queue.finish([Completed(claim_one(queue), LARGE)])


def test_data_that_redis_refuses_is_told_from_an_outage_by_both_clients(strict_redis: RedisServer) -> None:
    settings = RedisSettings(redis_url=strict_redis.url)
    large = Submission((NewJob(new_job_id(), LARGE),))

    async def submit() -> None:
        client = connect_async(settings)
        try:
            await AsyncRedisJobQueue(client, "predict_queue", QueuePolicy()).submit([large])
        finally:
            await client.aclose()

    queue = RedisJobQueue(connect(settings), "predict_queue", QueuePolicy())
    for submitting in (lambda: queue.submit([large]), lambda: asyncio.run(submit())):
        with pytest.raises(QueueRefusedError, match=r"answers, but has refused a call of 2,000,\d\d\d bytes 3 times"):
            submitting()
    assert queue.observe().length == 0


def test_a_result_that_redis_refuses_fails_its_job_alone(strict_redis: RedisServer) -> None:
    queue = patient_queue(strict_redis)
    ids = submit_jobs(queue, 3)
    first, large, last = claim(queue)
    endings: list[Ending] = [Completed(first, b"1"), Completed(large, LARGE), Completed(last, b"3")]
    stored = finish(queue.finish, endings)
    assert [outcome for _, outcome in stored] == [FinishOutcome.STORED] * 3
    ends = [(Completed, first), (Completed, last), (Failed, large)]
    assert [(type(ending), ending.job) for ending, _ in stored] == ends
    assert [status(queue, job_id) for job_id in ids] == [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.COMPLETED]
    error = read(queue, ids[1]).error or ""
    assert "it has refused 2,000,000 bytes although it answers" in error
    assert "proto-max-bulk-len" in error
    assert queue.observe().in_flight == 0


def test_an_outage_in_the_middle_of_a_large_result_fails_nothing(own_redis: RedisServer) -> None:
    queue = patient_queue(own_redis)
    (job_id,) = submit_jobs(queue)
    stored: list[tuple[Ending, FinishOutcome]] = []
    job = claim_one(queue)
    own_redis.kill()
    thread = threading.Thread(target=lambda: stored.extend(finish(queue.finish, [Completed(job, LARGE)])))
    thread.start()
    own_redis.start()
    thread.join(30)
    assert [outcome for _, outcome in stored] == [FinishOutcome.STORED]
    assert read(queue, job_id).result == LARGE


def test_results_that_are_too_much_for_one_call_go_in_several() -> None:
    """Together they are more than what this Redis takes in one call, each alone is not."""
    with RedisServer("--client-query-buffer-limit", f"{PORTION_BYTES}") as redis:
        queue = patient_queue(redis)
        ids = submit_jobs(queue, 5)
        stored = finish(queue.finish, [Completed(job, b"y" * (PORTION_BYTES // 2 + 1)) for job in claim(queue)])
        assert [outcome for _, outcome in stored] == [FinishOutcome.STORED] * 5
        assert [status(queue, job_id) for job_id in ids] == [JobStatus.COMPLETED] * 5
