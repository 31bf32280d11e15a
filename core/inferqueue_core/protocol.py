"""The queue's protocol as values: each operation becomes one script call and a reading of its reply.

Nothing here talks to Redis. The synchronous and the asynchronous client send the same calls, so they cannot differ.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from inferqueue_core.errors import QueueOwnedError
from inferqueue_core.ids import created_at, created_ms, from_ms
from inferqueue_core.jobs import (
    Accepted,
    AlreadyAccepted,
    Canceled,
    CancelOutcome,
    Claim,
    Claimant,
    ClaimedJob,
    Completed,
    DeadLetter,
    Ending,
    Failed,
    FinishOutcome,
    GiveBack,
    Heartbeat,
    Job,
    JobStatus,
    JobTarget,
    LeaseState,
    QueueDecision,
    QueueFull,
    QueueObservation,
    RanModel,
    Reaped,
    RedriveOutcome,
    Retry,
    RetryOutcome,
    SetAside,
    Submission,
    SubmitOutcome,
    WorkerReport,
    WorkerState,
)
from inferqueue_core.keys import QueueKeys, check_queue_name, idempotency_key, job_key
from inferqueue_core.policy import DAY_SECONDS, QueuePolicy
from inferqueue_core.wire import read_json

# Whoever scales writes three times as often (`scaling.news`): what is older is nobody's word any more.
DECISION_SECONDS = 90
# A worker that was barred is stopped within seconds; no longer than this does it stay barred when nobody does so.
RETIRED_SECONDS = 120
MESSAGE_CHARACTERS = 8192
# Data of this size is read one job at a time, so that a claim's memory in Redis stays within what it asks for.
LARGE_BYTES = 65_536

T = TypeVar("T")
Argument = str | bytes | int


class Script(Struct, frozen=True):
    """A Lua script and the SHA-1 under which Redis keeps it."""

    name: str
    text: str
    sha: str


_FOLDER = Path(__file__).with_name("scripts")
# What stands before the text of each script, beside the prelude: a function that is made costs each call, used or not.
_SHARED = {
    **dict.fromkeys(("retire", "observe"), ("owners",)),
    **dict.fromkeys(("move", "cancel"), ("owners", "endings")),
    **dict.fromkeys(("retry", "reap", "redrive"), ("owners", "endings", "burials")),
    "purge": ("burials",),
}
# Claims seldom end a job, so `endings()` makes what they need for it.
_ENDINGS = """local function endings()
{shared}
return {{ undo = undo, open = open, count = count, since_of = since_of, end_waiting = end_waiting, promote = promote }}
end
"""


def _load(name: str) -> Script:
    def read(*parts: str) -> str:
        return "\n".join((_FOLDER / f"{part}.lua").read_text() for part in parts)

    shared = read(*_SHARED.get(name, ()))
    if name in ("claim", "drain"):
        shared = _ENDINGS.format(shared=read("owners", "endings")) + read("leasing")
    text = f"{read('prelude')}\n{shared}\nlocal function main()\n{read(name)}end\n{read('epilogue')}"
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


SUBMIT, CLAIM, DRAIN, MOVE, EXTEND, FINISH, RETRY, CANCEL, REAP, RETIRE, REDRIVE, PURGE, OBSERVE = (
    _load(name)
    for name in (
        "submit",
        "claim",
        "drain",
        "move",
        "extend",
        "finish",
        "retry",
        "cancel",
        "reap",
        "retire",
        "redrive",
        "purge",
        "observe",
    )
)


class Call(Struct, Generic[T], frozen=True):
    """One script call; `again` is what to send when the reply was lost (None: the same call is safe to repeat)."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    parse: Callable[[Any], T]
    again: tuple[Argument, ...] | None = None

    def size(self) -> int:
        """Return the bytes of its arguments, but for numbers."""
        return sum(len(argument) for argument in self.args if not isinstance(argument, int))

    def resent(self) -> "Call[T]":
        return self if self.again is None else msgspec.structs.replace(self, args=self.again, again=None)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _text(value: bytes | None) -> str:
    """Read what others may have written: their bytes need not be UTF-8."""
    return "" if value is None else value.decode(errors="replace")


def _message(text: str) -> bytes:
    """Write a message for clients: one that quotes broken text or all of the data must not fail to be stored."""
    return text[:MESSAGE_CHARACTERS].encode(errors="backslashreplace")


def _pairs(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


class Protocol(Struct, frozen=True):
    """Builds the calls of one queue."""

    keys: QueueKeys
    policy: QueuePolicy

    def submit(self, submissions: Sequence[Submission]) -> Call[list[SubmitOutcome]]:
        k = self.keys
        groups: list[Argument] = []
        for submission in submissions:
            idem, value, ttl, digest = "", "", 0, ""
            if submission.idempotency is not None:
                idem = idempotency_key(k.prefix, submission.idempotency.digest)
                value = f"{submission.idempotency.fingerprint} {','.join(job.id for job in submission.jobs)}"
                if len(submission.jobs) == 1:
                    digest = f"/{submission.idempotency.digest}"
                else:
                    ttl = _ms(self._longest_life(submission))
            groups += (len(submission.jobs), idem, value, ttl)
            for job in submission.jobs:
                # 0 would mean no deadline at all.
                deadline = max(1, _ms(job.deadline_seconds)) if job.deadline_seconds > 0 else 0
                groups += (job.id, job.data, target_text(k.queue_name, job.target) + digest, deadline)

        def outcome(submission: Submission, reply: tuple[int, Any]) -> SubmitOutcome:
            code, value = reply
            if code == 1:
                return Accepted(tuple(job.id for job in submission.jobs), value)
            if code == -1:
                return QueueFull(value)
            fingerprint, ids = value.decode().split(" ", 1)
            return AlreadyAccepted(tuple(ids.split(",")), fingerprint)

        return Call(
            SUBMIT,
            (k.queue, k.stats, k.deadlines, k.tombstones, k.large),
            (k.jobs, self.policy.max_length, k.wake, LARGE_BYTES, *groups),
            lambda reply: [outcome(*pair) for pair in zip(submissions, reply, strict=True)],
        )

    def _longest_life(self, submission: Submission) -> float:
        """Return for how many seconds any of the jobs may be known."""
        waits = (job.deadline_seconds or self.policy.queue_ttl for job in submission.jobs)
        return max(waits, default=0) + self.policy.job_ttl

    def claim(
        self, worker: str, nonce: str, limit: int, max_bytes: int, sharers: int, claimant: Claimant | None = None
    ) -> Call[Claim]:
        return self._lease(CLAIM, worker, nonce, limit, max_bytes, sharers, claimant)

    def drain(
        self, worker: str, nonce: str, limit: int, max_bytes: int, claimant: Claimant, *, pinned_only: bool
    ) -> Call[Claim]:
        return self._lease(DRAIN, worker, nonce, limit, max_bytes, "pinned" if pinned_only else "all", claimant)

    def _lease(
        self,
        script: Script,
        worker: str,
        nonce: str,
        limit: int,
        max_bytes: int,
        own: Argument,
        claimant: Claimant | None,
    ) -> Call[Claim]:
        if ":" in worker:
            raise ValueError(f"worker name {worker!r} holds ':', which separates the parts of a fence")
        k, p = self.keys, self.policy
        args: tuple[Argument, ...] = (
            *(k.jobs, worker, nonce, limit, max_bytes),
            *(_ms(p.lease), _ms(p.job_ttl), _ms(p.queue_ttl), own),
            *(("", "", "", "", "") if claimant is None else _claimant_args(claimant)),
        )
        model = "" if claimant is None else claimant.model
        keys = (k.queue, k.leases, k.delayed, k.deadlines, k.retired, k.stats, k.model, k.tombstones, k.large)
        return Call(script, keys, (*args, "0"), lambda reply: self._parse_claim(reply, model), again=(*args, "1"))

    def _parse_claim(self, reply: list[Any], model: str) -> Claim:
        if reply[0] == 0:
            return Claim((), retired=True)
        if reply[0] == -1:
            raise QueueOwnedError(self.keys.queue_name, unquote(_text(reply[1])), model)
        set_aside = tuple(SetAside(_text(id_), read_target(owner)) for id_, owner in _pairs(reply[1]))
        adopted = dict(_pairs(reply[2]))
        jobs = []
        fence = ""
        for id_, own_fence, data in zip(reply[3::3], reply[4::3], reply[5::3], strict=True):
            fence = own_fence.decode() if own_fence else fence
            made_for = read_target(adopted[id_]) if adopted and id_ in adopted else None
            jobs.append(ClaimedJob(id_.decode(), fence, data, made_for))
        return Claim(tuple(jobs), set_aside=set_aside, more_below=reply[0] == 2)

    def move(self, jobs: Sequence[SetAside], target: QueueKeys) -> Call[int]:
        k = self.keys
        return Call(
            MOVE,
            (k.delayed, k.deadlines, k.stats, target.queue, target.deadlines, target.stats, target.large),
            (
                *(k.jobs, target.wake, LARGE_BYTES),
                *(part for job in jobs for part in (job.id, target_text(target.queue_name, job.target))),
            ),
            int,
        )

    def extend(
        self, worker: str, report: WorkerReport | None, jobs: Sequence[ClaimedJob], *, idle: bool
    ) -> Call[Heartbeat]:
        k, p = self.keys, self.policy
        states = {0: LeaseState.LOST, 1: LeaseState.HELD, 2: LeaseState.CANCEL_REQUESTED}
        return Call(
            EXTEND,
            (k.leases, k.workers, k.worker_reports, k.retired, k.model),
            (
                *(k.jobs, worker, b"" if report is None else msgspec.json.encode(report)),
                *(_ms(p.lease), k.wake if idle else ""),
                *("" if report is None else quote(report.model, safe=""), _ms(p.silence_limit)),
                *(part for job in jobs for part in (job.id, job.fence)),
            ),
            lambda reply: Heartbeat(
                reply[0] == 1,
                tuple(states[code] for code in reply[3:]),
                unquote(_text(reply[1])) or None,
                was_nobodys=reply[2] == 1,
            ),
        )

    def finish(self, endings: Sequence[Ending], ran: RanModel | None = None) -> Call[list[FinishOutcome]]:
        what = "" if ran is None else f"{ran.name}/{ran.version}/{ran.digest}"
        p = self.policy
        args: list[Argument] = [self.keys.jobs, _ms(p.job_ttl), what, _ms(min(p.idempotency_ttl, p.job_ttl))]
        fence_before = ""
        for ending in endings:
            fence = "" if ending.job.fence == fence_before else ending.job.fence
            fence_before = ending.job.fence
            match ending:
                case Completed(job, result):
                    args += (job.id, fence, "completed", result)
                case Failed(job, error):
                    args += (job.id, fence, "failed", _message(error))
                case Canceled(job):
                    args += (job.id, fence, "canceled", "canceled while it ran")
        outcomes = {0: FinishOutcome.STALE, 1: FinishOutcome.STORED, 2: FinishOutcome.STORED_BEFORE}
        return Call(
            FINISH,
            (self.keys.leases, self.keys.stats),
            tuple(args),
            lambda reply: [outcomes[code] for code in reply],
        )

    def retry(self, retries: Sequence[Retry | GiveBack]) -> Call[list[RetryOutcome]]:
        k, p = self.keys, self.policy
        args: list[Argument] = [k.jobs, _ms(p.job_ttl), p.max_attempts, p.max_dead, p.max_dead_bytes, _ms(p.dead_ttl)]
        for retry in retries:
            match retry:
                case Retry(job, delay_seconds, error):
                    args += (job.id, job.fence, _ms(delay_seconds), _message(error))
                case GiveBack(job):
                    args += (job.id, job.fence, -1, "")
        outcomes = {
            0: RetryOutcome.STALE,
            1: RetryOutcome.WAITING,
            2: RetryOutcome.DEAD,
            3: RetryOutcome.CANCELED,
        }
        return Call(
            RETRY,
            (k.queue, k.leases, k.delayed, k.dead, k.dead_sizes, k.stats),
            tuple(args),
            lambda reply: [outcomes[code] for code in reply],
        )

    def cancel(self, job_id: str) -> Call[CancelOutcome]:
        def parse(reply: list[bytes]) -> CancelOutcome:
            match [part.decode() for part in reply]:
                case ["ended", status]:
                    return CancelOutcome("ended", JobStatus(status))
                case ["canceled"]:
                    return CancelOutcome("canceled")
                case ["requested"]:
                    return CancelOutcome("requested")
            return CancelOutcome("unknown")

        k, ttl = self.keys, self.policy.job_ttl
        args = (k.jobs, job_id, _ms(ttl), _ms(ttl + DAY_SECONDS))
        return Call(CANCEL, (k.delayed, k.deadlines, k.tombstones, k.stats), args, parse)

    def reap(self, limit: int) -> Call[Reaped]:
        k, p = self.keys, self.policy
        return Call(
            REAP,
            (
                *(k.queue, k.leases, k.delayed, k.deadlines, k.dead, k.dead_sizes),
                *(k.workers, k.worker_reports, k.retired, k.stats, k.tombstones, k.large),
            ),
            (
                *(k.jobs, _ms(p.job_ttl), _ms(p.lease), p.max_attempts, limit),
                *(p.max_dead, p.max_dead_bytes, _ms(p.dead_ttl), _ms(p.silence_limit), _ms(p.queue_ttl)),
            ),
            lambda reply: Reaped(reply[0], reply[1], reply[2], reply[3], reply[4] == 1),
        )

    def retire(self, workers: Sequence[str]) -> Call[frozenset[str]]:
        return Call(
            RETIRE,
            (self.keys.leases, self.keys.retired),
            (self.keys.jobs, 1000 * RETIRED_SECONDS, *workers),
            lambda reply: frozenset(worker.decode() for worker in reply),
        )

    def redrive(self, job_ids: Sequence[str]) -> Call[list[RedriveOutcome]]:
        outcomes = {-1: RedriveOutcome.NOT_DEAD, 0: RedriveOutcome.DATA_GONE, 1: RedriveOutcome.WAITING}
        k = self.keys
        return Call(
            REDRIVE,
            (k.queue, k.dead, k.dead_sizes, k.stats),
            (k.jobs, k.wake, *job_ids),
            lambda reply: [outcomes[code] for code in reply],
        )

    def purge(self, limit: int) -> Call[int]:
        k = self.keys
        return Call(PURGE, (k.dead, k.dead_sizes), (k.jobs, _ms(self.policy.job_ttl), limit), int)

    def observe(self, samples: int) -> Call[QueueObservation]:
        k = self.keys
        keys = (
            *(k.queue, k.leases, k.delayed, k.dead, k.workers, k.worker_reports, k.retired, k.stats),
            *(k.decision, k.model, k.tombstones, k.dead_sizes),
        )
        return Call(OBSERVE, keys, (k.jobs, samples), _parse_observation)

    def decision_written(self, decision: QueueDecision) -> tuple[Argument, ...]:
        """Give the command that makes a decision the last one, for as long as it can be believed."""
        return ("SET", self.keys.decision, msgspec.json.encode(decision), "EX", DECISION_SECONDS)

    def job_parts(self, job_id: str) -> tuple[str, ...]:
        """Name the keys from which `parse_job` reads a job, in its order."""
        return tuple(job_key(self.keys.prefix, job_id, part) for part in ("status", "result", "error", "owner"))


def parse_job(job_id: str, parts: Sequence[bytes | None]) -> Job | None:
    """Read a job from the values of `Protocol.job_parts`; None when it has no status, hence is unknown."""
    status, result, error, owner = parts
    if status is None:
        return None
    attempts, worker, started_ms, ended_ms, ran = _parse_owner(_text(owner))
    return Job(
        job_id,
        _parse_status(status),
        result=result,
        error=None if error is None else _text(error),
        attempts=attempts,
        worker=worker,
        created_at=created_at(job_id),
        started_at=None if started_ms is None else from_ms(started_ms),
        completed_at=None if ended_ms is None else from_ms(ended_ms),
        model=ran,
    )


def read_target(owner: bytes | None) -> JobTarget:
    """Read from a job's owner what it is for; what a stranger wrote, or an ended job's owner, says nothing."""
    _, _, text = _text(owner).partition(":")[0].partition("@")
    parts = [unquote(part) for part in text.split("/")]
    if len(parts) < 5:
        return JobTarget()
    queue, model, version, signature, pinned, *_ = parts
    target = JobTarget(queue, model, version, signature, pinned != "")
    try:
        check_queue_name(target.queue)
    except ValueError:
        return JobTarget()
    return target


# A proxy writes the same few again and again.
@lru_cache(maxsize=1024)
def target_text(queue: str, target: JobTarget) -> str:
    """Write what a job is for as it stands in its owner: parts without `:` and `/`, which stand between others."""
    parts = (queue, target.model, target.version, target.signature, "pinned" if target.pinned else "")
    return "/".join(quote(part, safe="") for part in parts)


@lru_cache(maxsize=64)
def _claimant_args(claimant: Claimant) -> tuple[str, ...]:
    lists = (
        ",".join(("", *sorted(quote(version, safe="") for version in versions), ""))
        for versions in (claimant.absent, claimant.gone)
    )
    return (quote(claimant.model, safe=""), quote(claimant.version, safe=""), claimant.signature, *lists)


def _parse_status(text: bytes) -> JobStatus:
    """Read a status; one in a stranger's own words counts as work under way."""
    try:
        return JobStatus(text.decode())
    except ValueError:
        return JobStatus.PROCESSING


def parse_dead_letter(job_id: str, owner: bytes | None, error: bytes | None) -> DeadLetter:
    """Read a dead letter from the job's owner and error."""
    attempts, _, _, ended_ms, _ = _parse_owner(_text(owner))
    return DeadLetter(job_id, _text(error), attempts, None if ended_ms is None else from_ms(ended_ms))


def _parse_owner(owner: str) -> tuple[int, str | None, int | None, int | None, RanModel | None]:
    """Split `attempt[@target]:startedms-nonce:worker[:endedms[:model/version/digest]]` or `…:dead:endedms`.

    While it waits it is `attempt[@target]::since…`.
    """
    first, _, rest = owner.partition(":")
    attempt = first.partition("@")[0]
    nonce, _, rest = rest.partition(":")
    if not nonce:
        return int(attempt) if attempt.isdecimal() else 0, None, None, None, None
    worker, _, rest = rest.partition(":")
    ended, _, ran = rest.removeprefix("dead:").partition(":")
    parts = ran.split("/", 2)
    started = nonce.partition("-")[0]
    return (
        int(attempt) if attempt.isdecimal() else 0,
        worker or None,
        int(started) if started.isdecimal() else None,
        int(ended) if ended.isdecimal() else None,
        RanModel(*parts) if len(parts) == 3 else None,
    )


def _parse_observation(reply: list[Any]) -> QueueObservation:
    now_ms, length, in_flight, delayed, dead, dead_bytes, samples, beats, reports, retired, counters, *rest = reply
    decision, model = rest
    by_worker = {name.decode(): report for name, report in _pairs(reports)}
    barred = frozenset(name.decode() for name in retired)
    workers = tuple(
        WorkerState(
            name.decode(),
            max(0.0, (now_ms - float(beat)) / 1000),
            name.decode() in barred,
            _parse_report(by_worker.get(name.decode(), b"{}")),
        )
        for name, beat in _pairs(beats)
    )
    return QueueObservation(
        now_ms,
        length,
        in_flight,
        delayed,
        dead,
        dead_bytes,
        tuple(
            (position, _age_seconds(now_ms, _text(job_id), since))
            for position, job_id, since in zip(samples[::3], samples[1::3], samples[2::3], strict=True)
        ),
        workers,
        {name.decode(): int(count) for name, count in _pairs(counters)},
        barred,
        None if decision is None else _parse_decision(decision),
        None if model is None else unquote(_text(model)),
    )


def _age_seconds(now_ms: int, job_id: str, since: bytes) -> float | None:
    """Return how long a job has waited, by Redis' clock alone; a stranger's by its id, if that tells."""
    since_ms = int(since) if since else created_ms(job_id)
    return None if since_ms is None else max(0.0, (now_ms - since_ms) / 1000)


def _parse_report(text: bytes) -> WorkerReport:
    """Read a worker's report; one that is none must not hide the whole queue."""
    try:
        return read_json(text, WorkerReport)
    except ValueError:
        return WorkerReport()


def _parse_decision(text: bytes) -> QueueDecision | None:
    """Read a decision; what is none is as good as not there."""
    try:
        return read_json(text, QueueDecision)
    except ValueError:
        return None
