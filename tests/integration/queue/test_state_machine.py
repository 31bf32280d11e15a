"""Every operation in every order, on a real Redis, against a plain model of what the queue promises.

Time is moved by hand: a lease, retry or deadline is due when its score is put into the past.
"""

from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from inferqueue_core.jobs import (
    Accepted,
    AlreadyAccepted,
    Canceled,
    Claimant,
    ClaimedJob,
    Completed,
    Ending,
    Failed,
    FinishOutcome,
    GiveBack,
    Idempotency,
    JobStatus,
    JobTarget,
    LeaseState,
    NewJob,
    QueueFull,
    Reaped,
    RedriveOutcome,
    Retry,
    RetryOutcome,
    Submission,
)
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from support.key_leaks import leaked_keys

QUEUE = "predict_queue"
WORKERS = ("a", "b")
MODELS = ("iris", "rose")
FAR = 10**15
DATA = b"0123456789"
MAX_ATTEMPTS, MAX_LENGTH = 3, 12

PENDING, PROCESSING = JobStatus.PENDING, JobStatus.PROCESSING
workers = st.sampled_from(WORKERS)


@dataclass
class Owner:
    """Who holds a job, or held it last; `kind` is held, ended, dead or between (two attempts)."""

    kind: str
    fence: str
    attempts: int


@dataclass
class ModelJob:
    status: JobStatus = PENDING
    owner: Owner | None = None
    has_data: bool = True
    cancel_requested: bool = False
    wanted: str = ""
    result: bytes | None = None

    @property
    def attempts(self) -> int:
        return self.owner.attempts if self.owner else 0


@dataclass
class Model:
    """The queue in plain Python. `waiting` ends with the next to be taken, as the list in Redis does."""

    jobs: dict[str, ModelJob] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    tombstones: set[str] = field(default_factory=set)
    leases: dict[str, float] = field(default_factory=dict)
    delayed: dict[str, float] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)
    retired: set[str] = field(default_factory=set)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + by

    def end(self, job_id: str, status: JobStatus) -> None:
        job = self.jobs[job_id]
        job.status, job.has_data, job.cancel_requested = status, False, False
        self.count(status)

    def end_waiting(self, job_id: str, status: JobStatus) -> None:
        if job_id in self.delayed:
            del self.delayed[job_id]
        else:
            self.tombstones.add(job_id)
        self.deadlines.pop(job_id, None)
        self.end(job_id, status)

    @property
    def length(self) -> int:
        return max(0, len(self.waiting) - len(self.tombstones))

    def bury(self, job_id: str, fence: str) -> None:
        job = self.jobs[job_id]
        job.status, job.cancel_requested = JobStatus.FAILED, False
        job.owner = Owner("dead", fence, job.attempts)
        self.dead.insert(0, job_id)
        self.count("failed")
        self.count("dead")

    def promote(self) -> int:
        due = sorted((score, job_id) for job_id, score in self.delayed.items() if score < inf)
        for _, job_id in reversed(due):
            del self.delayed[job_id]
            self.waiting.append(job_id)
        return len(due)

    def submit(self, submission: Submission) -> Accepted | AlreadyAccepted | QueueFull:
        ids = tuple(job.id for job in submission.jobs)
        key = submission.idempotency.digest if submission.idempotency else None
        if key is not None and self.keys.get(key, ids) != ids:
            return AlreadyAccepted(self.keys[key], "print")
        if ids[0] in self.jobs:
            return Accepted(ids, 0)
        ahead = self.length
        if ahead + len(ids) > MAX_LENGTH:
            return QueueFull(ahead)
        for job in submission.jobs:
            self.jobs[job.id] = ModelJob(wanted=job.target.model)
            self.waiting.insert(0, job.id)
            if job.deadline_seconds:
                self.deadlines[job.id] = inf
        if key is not None:
            self.keys[key] = ids
        self.count("submitted", len(ids))
        return Accepted(ids, ahead)

    def claim(self, limit: int, max_bytes: int, sharers: int, model: str) -> tuple[list[str], list[str]]:
        """Give the ids of what is leased and of what is set aside for another model."""
        self.promote()
        if sharers > 1:
            limit = max(1, min(limit, ceil(len(self.waiting) / sharers)))
        claimed: list[str] = []
        aside: list[str] = []
        while self.waiting and not claimed:
            for _ in range(min(limit, len(self.waiting))):
                job_id = self.waiting[-1]
                is_more = claimed and (len(claimed) + 1) * len(DATA) > max_bytes
                if is_more and self._would_run(job_id) and not self._is_foreign(job_id, model):
                    break
                self.waiting.pop()
                self.tombstones.discard(job_id)
                if self._is_foreign(job_id, model):
                    self.delayed[job_id] = inf
                    if job_id not in aside:  # pushed twice, it is set aside once
                        aside.append(job_id)
                elif self._may_run(job_id):
                    claimed.append(job_id)
        return claimed, aside

    def _is_foreign(self, job_id: str, model: str) -> bool:
        job = self.jobs[job_id]
        overdue = self.deadlines.get(job_id, inf) < inf
        waits = job.status is PENDING and job.has_data and not overdue
        return waits and bool(model and job.wanted) and job.wanted != model

    def _would_run(self, job_id: str) -> bool:
        job = self.jobs[job_id]
        return job.status is PENDING and job.has_data

    def _may_run(self, job_id: str) -> bool:
        job = self.jobs[job_id]
        if job.status is not PENDING:
            return False
        deadline = self.deadlines.pop(job_id, inf)
        if not job.has_data or deadline < inf:
            self.delayed.pop(job_id, None)  # it was pushed twice
            self.end(job_id, JobStatus.EXPIRED)
            return False
        job.status = PROCESSING
        self.leases[job_id] = inf
        return True

    def finish(self, claimed: ClaimedJob, status: JobStatus, result: bytes | None) -> FinishOutcome:
        job = self.jobs[claimed.id]
        kind = job.owner.kind if job.owner and job.owner.fence == claimed.fence else None
        if kind == "held":
            del self.leases[claimed.id]
            self.end(claimed.id, status)
            job.owner, job.result = Owner("ended", claimed.fence, claimed.attempt), result
            return FinishOutcome.STORED
        if kind == "ended":
            return FinishOutcome.STORED_BEFORE
        self.count("stale")
        return FinishOutcome.STALE

    def retry(self, claimed: ClaimedJob, give_back: bool) -> RetryOutcome:
        job = self.jobs[claimed.id]
        if job.owner is None:
            return RetryOutcome.CANCELED if job.status is JobStatus.CANCELED else RetryOutcome.STALE
        if job.owner.fence != claimed.fence:
            return RetryOutcome.STALE
        if job.owner.kind != "held":
            answers = {"between": RetryOutcome.WAITING, "dead": RetryOutcome.DEAD}
            return answers.get(job.owner.kind, RetryOutcome.STALE)
        del self.leases[claimed.id]
        if job.cancel_requested:
            job.owner = None
            self.end(claimed.id, JobStatus.CANCELED)
            return RetryOutcome.CANCELED
        if not give_back and claimed.attempt >= MAX_ATTEMPTS:
            self.bury(claimed.id, claimed.fence)
            return RetryOutcome.DEAD
        job.status = PENDING
        job.owner = Owner("between", claimed.fence, claimed.attempt - give_back)
        if give_back:
            self.waiting.append(claimed.id)
        else:
            self.delayed[claimed.id] = inf
            self.count("retried")
        return RetryOutcome.WAITING

    def reap(self) -> Reaped:
        promoted, put_back, buried, expired = self.promote(), 0, 0, 0
        for job_id in [job_id for job_id, score in self.deadlines.items() if score < inf]:
            if self.jobs[job_id].status is PENDING:
                self.end_waiting(job_id, JobStatus.EXPIRED)
                expired += 1
            self.deadlines.pop(job_id, None)
        while self.tombstones and self.waiting and self.waiting[-1] in self.tombstones:
            self.tombstones.remove(self.waiting.pop())
        if not self.waiting:
            self.tombstones.clear()
        overdue = sorted((score, job_id) for job_id, score in self.leases.items() if score < inf)
        for _, job_id in reversed(overdue):
            job = self.jobs[job_id]
            del self.leases[job_id]
            if job.cancel_requested:
                job.owner = None
                self.end(job_id, JobStatus.CANCELED)
            elif not job.has_data:
                job.owner = None
                self.end(job_id, JobStatus.EXPIRED)
                expired += 1
            elif job.attempts >= MAX_ATTEMPTS:
                assert job.owner is not None
                self.bury(job_id, job.owner.fence)
                buried += 1
            else:
                self.waiting.insert(0 if job.attempts >= 2 else len(self.waiting), job_id)
                job.status, job.owner = PENDING, Owner("between", "", job.attempts)
                self.count("retried")
                put_back += 1
        return Reaped(put_back, buried, expired, promoted)

    def redrive(self, job_id: str) -> RedriveOutcome:
        if job_id not in self.dead:
            return RedriveOutcome.NOT_DEAD
        self.dead.remove(job_id)
        job = self.jobs[job_id]
        if not job.has_data:
            return RedriveOutcome.DATA_GONE
        job.status, job.owner = PENDING, None
        self.waiting.insert(0, job_id)
        self.count("redriven")
        return RedriveOutcome.WAITING


def _texts(values: list[bytes]) -> list[str]:
    return [value.decode() for value in values]


class QueueMachine(RuleBasedStateMachine):
    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.client = client
        policy = QueuePolicy(lease=50, max_attempts=MAX_ATTEMPTS, max_length=MAX_LENGTH)
        self.queue = RedisJobQueue(client, QUEUE, policy)
        # Its lease is one that this Redis has been up for, so that it does not wait after the start of Redis.
        self.reaper = RedisJobQueue(client, QUEUE, QueuePolicy(lease=0.5, max_attempts=MAX_ATTEMPTS))
        self.model = Model()
        self.claims: list[ClaimedJob] = []
        self.submissions: list[Submission] = []
        self.clock = self.made = self.strange = 0

    @initialize()
    def begin(self) -> None:
        self.client.flushdb()

    def new_id(self) -> str:
        # Ids that chance made would let no failure be reproduced.
        self.made += 1
        return f"job-{self.made:04}"

    def pick(self, data: st.DataObject, values: Any) -> Any:
        return data.draw(st.sampled_from(sorted(values)))

    @rule(
        size=st.integers(1, 4),
        deadline=st.sampled_from([0, 1000]),
        key=st.sampled_from([None, None, "k", "l"]),
        wanted=st.sampled_from(["", *MODELS]),
    )
    def submit(self, size: int, deadline: float, key: str | None, wanted: str) -> None:
        target = JobTarget(model=wanted, version="1")
        jobs = tuple(NewJob(self.new_id(), DATA, deadline, target) for _ in range(size))
        submission = Submission(jobs, Idempotency(key, "print") if key else None)
        self.submissions.append(submission)
        assert self.queue.submit([submission]) == [self.model.submit(submission)]

    @precondition(lambda self: self.submissions)
    @rule(data=st.data())
    def submit_again(self, data: st.DataObject) -> None:
        submission = data.draw(st.sampled_from(self.submissions))
        assert self.queue.submit([submission]) == [self.model.submit(submission)]

    @rule(
        worker=workers,
        limit=st.integers(1, 20),
        max_bytes=st.sampled_from([1, 25, 1000, 1000]),
        sharers=st.integers(1, 3),
        model=st.sampled_from(["", *MODELS]),
    )
    def claim(self, worker: str, limit: int, max_bytes: int, sharers: int, model: str) -> None:
        claimant = Claimant(model, "1") if model else None
        claim = self.queue.claim(worker, limit, max_bytes, sharers, claimant)
        assert claim.retired == (worker in self.model.retired)
        if claim.retired:
            return
        aside = [job.id for job in claim.set_aside]
        assert ([job.id for job in claim.jobs], aside) == self.model.claim(limit, max_bytes, sharers, model)
        for job_id in aside:  # none becomes due by itself
            self.client.zadd(f"{QUEUE}:delayed", {job_id: FAR})
        for claimed in claim.jobs:
            job = self.model.jobs[claimed.id]
            assert claimed.attempt == job.attempts + 1
            assert claimed.data == DATA
            job.owner = Owner("held", claimed.fence, claimed.attempt)
            self.claims.append(claimed)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        claims = data.draw(st.lists(st.sampled_from(self.claims), min_size=1, max_size=3))
        expected = []
        for claimed in claims:
            job = self.model.jobs[claimed.id]
            if job.owner != Owner("held", claimed.fence, claimed.attempt):
                expected.append(LeaseState.LOST)
                continue
            self.model.leases[claimed.id] = inf
            expected.append(LeaseState.CANCEL_REQUESTED if job.cancel_requested else LeaseState.HELD)
        assert self.queue.extend("a", None, claims).leases == tuple(expected)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), how=st.sampled_from([JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED]))
    def finish(self, data: st.DataObject, how: JobStatus) -> None:
        claims = data.draw(st.lists(st.sampled_from(self.claims), min_size=1, max_size=3))
        endings: list[Ending] = []
        expected = []
        for claimed in claims:
            result = claimed.fence.encode() if how is JobStatus.COMPLETED else None
            expected.append(self.model.finish(claimed, how, result))
            if result is not None:
                endings.append(Completed(claimed, result))
            else:
                endings.append(Failed(claimed, "no") if how is JobStatus.FAILED else Canceled(claimed))
        assert self.queue.finish(endings) == expected

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), give_back=st.booleans())
    def retry(self, data: st.DataObject, give_back: bool) -> None:
        claimed = data.draw(st.sampled_from(self.claims))
        wish = GiveBack(claimed) if give_back else Retry(claimed, 1000, "no memory")
        assert self.queue.retry([wish]) == [self.model.retry(claimed, give_back)]

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = self.pick(data, self.model.jobs)
        job = self.model.jobs[job_id]
        outcome = self.queue.cancel(job_id)
        if job.status is PENDING:
            assert outcome.kind == "canceled"
            self.model.end_waiting(job_id, JobStatus.CANCELED)
        elif job.status is PROCESSING:
            assert outcome.kind == "requested"
            job.cancel_requested = True
        else:
            assert (outcome.kind, outcome.status) == ("ended", job.status)

    @rule()
    def reap(self) -> None:
        assert self.reaper.reap() == self.model.reap()

    @rule(data=st.data())
    def redrive(self, data: st.DataObject) -> None:
        job_id = self.pick(data, [*self.model.dead, "nobody"])
        assert self.queue.redrive([job_id]) == [self.model.redrive(job_id)]

    @rule(names=st.sets(workers))
    def retire(self, names: set[str]) -> None:
        owners = [self.model.jobs[job_id].owner for job_id in self.model.leases]
        busy = {owner.fence.rpartition(":")[2] for owner in owners if owner}
        assert self.queue.retire(sorted(names)) == names - busy
        self.model.retired |= names - busy

    @rule(names=st.sets(workers))
    def unretire(self, names: set[str]) -> None:
        self.queue.unretire(sorted(names))
        self.model.retired -= names

    def _put_into_the_past(self, data: st.DataObject, name: str, scores: dict[str, float]) -> None:
        job_id = self.pick(data, scores)
        self.clock += 1
        scores[job_id] = self.clock
        self.client.zadd(f"{QUEUE}:{name}", {job_id: self.clock})

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def a_lease_runs_out(self, data: st.DataObject) -> None:
        self._put_into_the_past(data, "leases", self.model.leases)

    @precondition(lambda self: self.model.delayed)
    @rule(data=st.data())
    def a_retry_becomes_due(self, data: st.DataObject) -> None:
        self._put_into_the_past(data, "delayed", self.model.delayed)

    @precondition(lambda self: self.model.deadlines)
    @rule(data=st.data())
    def a_deadline_passes(self, data: st.DataObject) -> None:
        self._put_into_the_past(data, "deadlines", self.model.deadlines)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def an_id_is_pushed_again_by_hand(self, data: st.DataObject) -> None:
        job_id = self.pick(data, self.model.jobs)
        self.client.lpush(QUEUE, job_id)
        self.model.waiting.insert(0, job_id)
        self.strange += 1

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def the_data_of_a_job_runs_out(self, data: st.DataObject) -> None:
        job_id = self.pick(data, self.model.jobs)
        self.client.delete(f"job:{job_id}:data")
        self.model.jobs[job_id].has_data = False

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        model, client = self.model, self.client
        with_data, with_request = self._jobs_with("data"), self._jobs_with("cancel")
        waiting: Any = client.lrange(QUEUE, 0, -1)
        dead: Any = client.lrange(f"{QUEUE}:dead", 0, -1)
        assert _texts(waiting) == model.waiting
        assert _texts(dead) == model.dead
        for name in ("leases", "delayed", "deadlines"):
            members: Any = client.zrange(f"{QUEUE}:{name}", 0, -1)
            assert set(_texts(members)) == set(getattr(model, name)), name
        observation = self.queue.observe()
        assert {name: count for name, count in observation.counters.items() if count} == model.counters
        assert observation.length == model.length
        if not self.strange:
            assert observation.missing == 0
        for (job_id, expected), job in zip(model.jobs.items(), self.queue.jobs(list(model.jobs)), strict=True):
            assert job is not None
            seen = (job.status, job.attempts, job.result)
            assert seen == (expected.status, expected.attempts, expected.result), job_id
            assert (job_id in with_data) == expected.has_data
            if not job.status.is_final:  # a request that came too late stays there until its TTL has run out
                assert (job_id in with_request) == expected.cancel_requested

    def _jobs_with(self, part: str) -> set[str]:
        """Return the ids of the jobs that have a key for this part, in one round trip for all of them."""
        ids = list(self.model.jobs)
        values: Any = self.client.mget([f"job:{job_id}:{part}" for job_id in ids]) if ids else []
        return {job_id for job_id, value in zip(ids, values, strict=True) if value is not None}

    def teardown(self) -> None:
        assert leaked_keys(self.client) == []


@pytest.mark.usefixtures("reap")
def test_the_queue_does_what_its_model_does(raw: redis.Redis) -> None:
    class Machine(QueueMachine):
        def __init__(self) -> None:
            super().__init__(raw)

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=100, stateful_step_count=50, suppress_health_check=checks),
    )
