"""Workers as the queue sees them: reports, retirement, silence; and the observation of the whole."""

from collections.abc import Callable
from typing import Any

import redis

from inferqueue_core.datatypes import Datatype
from inferqueue_core.jobs import Claim, GiveBack, LeaseState, NewJob, Reaped, Retry, Submission, WorkerReport
from inferqueue_core.keys import IDLE
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_core.protocol import RETIRED_SECONDS
from inferqueue_core.queue import RedisJobQueue
from support.jobs import WORKER, claim, claim_one, complete, submit_jobs
from support.redis_servers import RedisServer
from support.waiting import wait_until

MODEL = ModelInfo(
    name="iris",
    version="1",
    queue="predict_queue",
    inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=(-1, 4)),),
    outputs=(TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),),
    batchable=True,
    classes=("setosa", "versicolor", "virginica"),
)


def test_an_empty_queue_observed(queue: RedisJobQueue) -> None:
    observation = queue.observe(5)
    assert (observation.length, observation.in_flight, observation.delayed, observation.dead) == (0, 0, 0, 0)
    assert (observation.samples, observation.workers, dict(observation.counters)) == ((), (), {})
    assert observation.now_ms > 1_600_000_000_000


def test_samples_are_even_and_begin_with_the_next(queue: RedisJobQueue) -> None:
    submit_jobs(queue, 9)
    assert [position for position, _ in queue.observe(3).samples] == [0, 4, 8]
    assert [position for position, _ in queue.observe(1).samples] == [0]
    assert queue.observe(0).samples == ()
    assert [position for position, _ in queue.observe(100).samples] == list(range(9))


def test_an_age_is_told_by_the_clock_of_redis_alone(queue: RedisJobQueue, raw: redis.Redis) -> None:
    slow_clock = f"{1:012x}7{'0' * 3}8{'0' * 15}"  # a UUIDv7 of 1970
    queue.submit([Submission((NewJob(slow_clock, b"[1]"),))])
    ((_, age),) = queue.observe(1).samples
    assert age is not None
    assert age < 3600


def test_everything_is_counted(queue: RedisJobQueue) -> None:
    submit_jobs(queue, 5)
    jobs = claim(queue, 3)
    queue.retry([Retry(jobs[0], 60, "")])
    complete(queue, jobs[1:2])
    observation = queue.observe()
    assert (observation.length, observation.in_flight, observation.delayed) == (2, 1, 1)
    assert dict(observation.counters) == {"submitted": 5, "retried": 1, "completed": 1}


def test_a_heartbeat_makes_a_worker_known(queue: RedisJobQueue) -> None:
    report = WorkerReport(model="iris", version="1", in_flight=3, jobs=7, rows=9, busy_seconds=1.5)
    queue.extend(WORKER, report, [])
    (worker,) = queue.observe().workers
    assert (worker.name, worker.retired, worker.report) == (WORKER, False, report)
    assert worker.silent_seconds < 5
    queue.forget_worker(WORKER)
    assert queue.observe().workers == ()


def test_only_a_worker_that_has_nothing_more_to_do_wakes(queue: RedisJobQueue, raw: redis.Redis) -> None:
    with raw.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("predict_queue:wake")
        wait_until(lambda: listener.get_message() is None and raw.pubsub_numsub("predict_queue:wake")[0][1] == 1)
        queue.extend("busy", WorkerReport(in_flight=1), [])
        queue.extend("idle", WorkerReport(), [], idle=True)
        raw.publish("predict_queue:wake", "end")
        messages: list[bytes] = []
        while messages[-1:] != [b"end"]:
            messages.append(wait_until(lambda: listener.get_message(timeout=1))["data"])
    assert messages == [IDLE, b"end"]


def test_a_silent_worker_is_forgotten(queue: RedisJobQueue, raw: redis.Redis, reap: Callable[[], Reaped]) -> None:
    for name in ("silent", "alive"):
        queue.extend(name, WorkerReport(), [])
    queue.retire(["silent"])
    raw.zincrby("predict_queue:workers", -11_000, "silent")
    reap()
    assert [worker.name for worker in queue.observe().workers] == ["alive"]
    assert raw.hkeys("predict_queue:workers:reports") == [b"alive"]
    assert raw.smembers("predict_queue:retired") == set()


def test_only_idle_workers_retire(queue: RedisJobQueue) -> None:
    submit_jobs(queue, 2)
    job = claim_one(queue, "busy")
    assert queue.retire(["busy", "idle", "idle-too"]) == {"idle", "idle-too"}
    assert queue.retire(["busy", "idle"]) == {"idle"}
    complete(queue, [job])
    assert queue.retire(["busy"]) == {"busy"}


def test_a_retired_worker_gets_no_work_and_hears_why(queue: RedisJobQueue) -> None:
    submit_jobs(queue)
    queue.extend("a", WorkerReport(), [])
    queue.retire(["a"])
    assert queue.claim("a", 1, 1) == Claim((), retired=True)
    assert queue.extend("a", WorkerReport(), []).retired
    assert [worker.retired for worker in queue.observe().workers] == [True]
    assert len(claim(queue, 1, "b")) == 1


def test_a_bar_ends_by_itself_unless_it_is_said_again(queue: RedisJobQueue, raw: redis.Redis) -> None:
    queue.retire(["a"])
    raw.pexpire("predict_queue:retired", 1000)
    queue.retire(["b"])
    left: Any = raw.pttl("predict_queue:retired")
    assert 1000 < left <= 1000 * RETIRED_SECONDS
    assert raw.smembers("predict_queue:retired") == {b"a", b"b"}


def test_an_unretired_worker_works_again(queue: RedisJobQueue) -> None:
    submit_jobs(queue)
    queue.retire(["a", "b"])
    queue.unretire(["a"])
    queue.unretire([])
    assert not queue.extend("a", None, []).retired
    assert claim(queue, 1, "b") == []
    assert len(claim(queue, 1, "a")) == 1


def test_a_worker_that_gave_its_jobs_back_is_idle(queue: RedisJobQueue) -> None:
    submit_jobs(queue)
    job = claim_one(queue, "a")
    assert queue.retire(["a"]) == frozenset()
    queue.retry([GiveBack(job)])
    assert queue.extend("a", None, [job]).leases == (LeaseState.LOST,)
    assert queue.retire(["a"]) == {"a"}


def test_a_forgotten_worker_is_not_retired(queue: RedisJobQueue) -> None:
    submit_jobs(queue)
    queue.retire(["a"])
    queue.forget_worker("a")
    assert len(claim(queue, 1, "a")) == 1


def test_unknown_jobs_are_none(queue: RedisJobQueue) -> None:
    (job_id,) = submit_jobs(queue)
    known, unknown = queue.jobs([job_id, "0" * 32])
    assert (known is not None, unknown) == (True, None)
    assert queue.jobs([]) == []


def test_a_published_model_outlives_its_worker(queue: RedisJobQueue) -> None:
    assert queue.models() == {}
    queue.publish_model(MODEL)
    queue.forget_worker(WORKER)
    assert queue.models() == {"iris/1": MODEL}


def test_an_entry_that_nobody_can_read_hides_no_other_model(redis_server: RedisServer, queue: RedisJobQueue) -> None:
    queue.publish_model(MODEL)
    with redis_server.client() as client:
        client.hset("models", "rose", "{")
    assert queue.models() == {"iris/1": MODEL}
