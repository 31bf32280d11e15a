"""Each call of each script fails in turn, as a missing right makes it: a job is untouched or done, never lost."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import redis

from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import (
    Claimant,
    ClaimedJob,
    Completed,
    Failed,
    GiveBack,
    Idempotency,
    JobTarget,
    NewJob,
    Retry,
    SetAside,
    Submission,
)
from inferqueue_core.keys import QueueKeys
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.protocol import Call, Script
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.waiting import wait_until

QUEUE, OTHER, WORKER = "predict_queue", "other_queue", "worker"
POLICY = QueuePolicy(lease=20, max_attempts=2, max_dead=2)
FOR_IRIS = JobTarget(model="iris", version="1")
REFUSAL, REACHED = "NOPERM this call was made to fail", "reached"

# Counts the calls of a script, and lets the one fail whose number it is given.
_COUNTING = """
local calls = 0
local function refusal()
  calls = calls + 1
  if calls ~= %d then return nil end
  redis.call('SET', '%s', '1')
  return { err = '%s' }
end
local function counted_pcall(...) return refusal() or redis.pcall(...) end
local function counted_call(...)
  local refused = refusal()
  if refused then error(refused) end
  return redis.call(...)
end
"""


class Bench:
    """A queue with jobs in every state, made again for each call that is to fail."""

    def __init__(self, raw: redis.Redis) -> None:
        self.raw = raw
        self.queue = RedisJobQueue(raw, QUEUE, POLICY)
        self.other = RedisJobQueue(raw, OTHER, POLICY)
        # Its lease is one that this Redis has been up for.
        self.reaper = RedisJobQueue(raw, QUEUE, msgspec.structs.replace(POLICY, lease=0.5))
        self.ids: list[str] = []

    def submission(self, count: int = 2, deadline: float = 0, key: str = "") -> Submission:
        jobs = tuple(NewJob(new_job_id(), b"[1]", deadline, FOR_IRIS) for _ in range(count))
        return Submission(jobs, Idempotency(key, "print") if key else None)

    def submit(self, count: int = 2, deadline: float = 0, key: str = "") -> list[str]:
        submission = self.submission(count, deadline, key)
        self.queue.submit([submission])
        self.ids += (ids := [job.id for job in submission.jobs])
        return ids

    def claim(self, count: int = 2) -> list[ClaimedJob]:
        return list(self.queue.claim(WORKER, count, 1000).jobs)

    def past(self, name: str) -> None:
        members: Any = self.raw.zrange(f"{QUEUE}:{name}", 0, -1)
        for member in members:
            self.raw.zadd(f"{QUEUE}:{name}", {member: 1})

    def failing(self, call: Call[Any], number: int) -> Call[Any]:
        text = call.script.text.replace("redis.pcall(", "counted_pcall(").replace("redis.call(", "counted_call(")
        text = _COUNTING % (number, REACHED, REFUSAL) + text
        return msgspec.structs.replace(call, script=Script(call.script.name, text, "0" * 40), again=None)

    def drain_all(self) -> None:
        """Let workers that are well end whatever is owed."""
        for _ in range(6):
            self.past("leases")
            self.past("delayed")
            self.reaper.reap()
            for queue in (self.queue, self.other):
                while jobs := queue.claim(WORKER, 10, 1000).jobs:
                    queue.finish([Completed(job, b"1") for job in jobs])


Prepare = Callable[[Bench], Call[Any]]


def submit(bench: Bench) -> Call[Any]:
    submissions = [bench.submission(2, 60, "a"), bench.submission(1, 0, "b")]
    return bench.queue._protocol.submit(submissions)


def claim(bench: Bench) -> Call[Any]:
    bench.submit(2, deadline=60)
    gone, canceled, overdue = bench.submit(1), bench.submit(1), bench.submit(1, deadline=60)
    bench.raw.delete(f"job:{gone[0]}:data")
    bench.queue.cancel(canceled[0])
    bench.raw.zadd(f"{QUEUE}:deadlines", {overdue[0]: 1})
    bench.raw.set("job:naive:data", "[1]", ex=60)
    bench.raw.lpush(QUEUE, "naive")
    return bench.queue._protocol.claim(WORKER, "nonce", 10, 1000, 1)


def claim_others(bench: Bench) -> Call[Any]:
    bench.submit(3, deadline=60)
    return bench.queue._protocol.claim(WORKER, "nonce", 10, 1000, 1, Claimant("rose", "1"))


def drain(bench: Bench) -> Call[Any]:
    bench.submit(2)
    return bench.queue._protocol.drain(WORKER, "nonce", 10, 1000, Claimant("iris", "1"), pinned_only=False)


def move(bench: Bench) -> Call[Any]:
    bench.submit(2, deadline=60)
    aside = bench.queue.claim(WORKER, 10, 1000, 1, Claimant("rose", "1")).set_aside
    target = msgspec.structs.replace(FOR_IRIS, queue=OTHER)
    return bench.queue._protocol.move([SetAside(job.id, target) for job in aside], QueueKeys(OTHER))


def extend(bench: Bench) -> Call[Any]:
    bench.submit(2)
    return bench.queue._protocol.extend(WORKER, None, bench.claim(), idle=True)


def finish(bench: Bench) -> Call[Any]:
    bench.submit(2)
    bench.submit(1, key="c")
    first, *others = bench.claim(3)
    return bench.queue._protocol.finish([Failed(first, "no"), *(Completed(job, b"1") for job in others)])


def retry(bench: Bench) -> Call[Any]:
    bench.submit(2)
    bench.queue.retry([Retry(job, 0, "again") for job in bench.claim()])
    dead, canceled = bench.claim()
    bench.queue.cancel(canceled.id)
    bench.submit(2)
    later, back = bench.claim()
    wishes: list[Retry | GiveBack] = [
        Retry(dead, 0, "no"),
        Retry(canceled, 0, "no"),
        Retry(later, 5, "no"),
        GiveBack(back),
    ]
    return bench.queue._protocol.retry(wishes)


def cancel_waiting(bench: Bench) -> Call[Any]:
    (job_id,) = bench.submit(1, deadline=60)
    return bench.queue._protocol.cancel(job_id)


def cancel_delayed(bench: Bench) -> Call[Any]:
    bench.submit(1)
    bench.queue.retry([Retry(job, 1000, "later") for job in bench.claim()])
    return bench.queue._protocol.cancel(bench.ids[0])


def reap(bench: Bench) -> Call[Any]:
    bench.submit(5)
    bench.queue.retry([Retry(job, 0, "again") for job in bench.claim(1)])
    canceled, bare, *_ = bench.claim(4)
    bench.queue.cancel(canceled.id)
    bench.raw.delete(f"job:{bare.id}:data")
    bench.past("leases")
    bench.submit(1, deadline=60)
    bench.past("deadlines")
    return bench.reaper._protocol.reap(10)


def redrive(bench: Bench) -> Call[Any]:
    bench.submit(3)
    for _ in range(POLICY.max_attempts):
        bench.queue.retry([Retry(job, 0, "no") for job in bench.claim(3)])
    return bench.queue._protocol.redrive(bench.ids)


def purge(bench: Bench) -> Call[Any]:
    redrive(bench)
    return bench.queue._protocol.purge(10)


def retire(bench: Bench) -> Call[Any]:
    bench.submit(2)
    bench.claim(1)
    return bench.queue._protocol.retire([WORKER, "idle"])


def observe(bench: Bench) -> Call[Any]:
    bench.submit(2)
    bench.queue.cancel(bench.ids[0])
    return bench.queue._protocol.observe(10)


SCRIPTS = (
    *(submit, claim, claim_others, drain, move, extend, finish, retry),
    *(cancel_waiting, cancel_delayed, reap, redrive, purge, retire, observe),
)


@pytest.fixture
def bench(raw: redis.Redis) -> Bench:
    def uptime() -> int:
        info: Any = raw.info("server")
        return int(info["uptime_in_seconds"])

    wait_until(lambda: uptime() >= 1, what="a second of uptime")
    return Bench(raw)


@pytest.mark.parametrize("prepare", SCRIPTS, ids=lambda prepare: prepare.__name__)
def test_a_call_that_fails_destroys_no_job(bench: Bench, prepare: Prepare) -> None:
    number = 1
    while _fails_harmlessly(bench, prepare, number):
        number += 1
    assert number > 1


@pytest.mark.parametrize("prepare", SCRIPTS, ids=lambda prepare: prepare.__name__)
def test_a_missing_right_destroys_no_job(bench: Bench, redis_settings: RedisSettings, prepare: Prepare) -> None:
    limited = redis.Redis.from_url(str(redis_settings.redis_url), username="limited", password="any")
    queue = RedisJobQueue(limited, QUEUE, POLICY)
    commands = set(re.findall(r"'([A-Z]{3,})'", prepare(bench).script.text)) - {"LIMIT", "WITHSCORES"}
    for command in sorted(commands):
        _start(bench)
        call = prepare(bench)
        bench.raw.acl_setuser(
            "limited", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", f"-{command}"]
        )
        with suppress(redis.ResponseError):
            queue._send(call)
        _check_that_nothing_is_lost(bench, call, f"{prepare.__name__} without {command}")
    limited.close()
    bench.raw.acl_deluser("limited")


def _start(bench: Bench) -> None:
    bench.raw.flushdb()
    bench.ids.clear()


def _fails_harmlessly(bench: Bench, prepare: Prepare, number: int) -> bool:
    """Let one call of a script fail, check that nothing is lost, and tell whether the script makes so many calls."""
    _start(bench)
    call = prepare(bench)
    with suppress(redis.exceptions.NoPermissionError):
        bench.queue._send(bench.failing(call, number))
    is_reached = bool(bench.raw.exists(REACHED))
    _check_that_nothing_is_lost(bench, call, f"{prepare.__name__}, call {number}")
    return is_reached


def _check_that_nothing_is_lost(bench: Bench, call: Call[Any], what: str) -> None:
    bench.queue._run(call)  # as a client does, which asks again
    bench.drain_all()
    for queue in (bench.queue, bench.other):
        assert queue.observe().missing == 0, f"{what}: {queue.observe()}"
    for job_id, job in zip(bench.ids, bench.queue.jobs(bench.ids), strict=True):
        assert job is not None, f"{what}: {job_id} is gone"
        assert job.status.is_final, f"{what}: {job}"
