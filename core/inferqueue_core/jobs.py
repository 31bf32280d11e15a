"""The values that travel between programs and the queue."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Replicas = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Up to the end of the year 9999, where datetime ends.
Milliseconds = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]


class JobStatus(StrEnum):
    """Where a job stands; the last four are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        return self not in (JobStatus.PENDING, JobStatus.PROCESSING)


class JobTarget(Struct, frozen=True):
    """What a job is for: a queue, a model, and the version against which its data was checked.

    A `pinned` job runs on that version alone; any other one also on a version with the same `signature`
    (`ModelInfo.signature`). Without a model it belongs to whatever model its queue belongs to.
    """

    queue: str = ""
    model: str = ""
    version: str = ""
    signature: str = ""
    pinned: bool = False


class NewJob(Struct, frozen=True):
    """A job to submit: `data` is a JSON text or a tensor envelope; `deadline_seconds` bounds its wait, 0 does not.

    Its queue is the one that it is submitted to, whatever `target` says.
    """

    id: str
    data: bytes
    deadline_seconds: float = 0
    target: JobTarget = JobTarget()


class Idempotency(Struct, frozen=True):
    """A client's Idempotency-Key as a digest, and the fingerprint of the request that came with it."""

    digest: str
    fingerprint: str


class Submission(Struct, frozen=True):
    """Jobs that are accepted together or not at all."""

    jobs: tuple[NewJob, ...]
    idempotency: Idempotency | None = None


class Accepted(Struct, frozen=True):
    """The jobs wait in the queue; `ahead` jobs were before the first of them."""

    job_ids: tuple[str, ...]
    ahead: int


class AlreadyAccepted(Struct, frozen=True):
    """The idempotency key has made these jobs before, for a request of this fingerprint."""

    job_ids: tuple[str, ...]
    fingerprint: str


class QueueFull(Struct, frozen=True):
    """Nothing was accepted: the queue holds `length` jobs already."""

    length: int


SubmitOutcome = Accepted | AlreadyAccepted | QueueFull


class ClaimedJob(Struct, frozen=True, gc=False):
    """A job leased to one worker; only the holder of `fence` (`attempt@target:nonce:worker`) may end it.

    `made_for` says for which other version it was made, that no worker serves any more; None for all others.
    """

    id: str
    fence: str
    data: bytes
    made_for: JobTarget | None = None

    @property
    def attempt(self) -> int:
        return int(self.fence.split(":", 1)[0].partition("@")[0])


class Claimant(Struct, frozen=True):
    """Whose jobs a worker may claim: those of its model and version, and those that say neither.

    Of other versions of the model it takes jobs for data of the same `signature`, and, not pinned ones, of the versions
    `absent`, which no worker serves; pinned ones too where it is `gone`: given up.
    """

    model: str
    version: str
    signature: str = ""
    absent: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


class SetAside(Struct, frozen=True):
    """A job that a claim found and left, because it is not the claimant's; it waits and is looked at again."""

    id: str
    target: JobTarget


class Claim(Struct, frozen=True):
    """The answer to a claim; `retired` means that this worker gets no more work.

    `more_below`: a drain has not looked at all that waits.
    """

    jobs: tuple[ClaimedJob, ...]
    retired: bool = False
    set_aside: tuple[SetAside, ...] = ()
    more_below: bool = False


class Completed(Struct, frozen=True, gc=False):
    """A job's result: JSON, or a tensor envelope."""

    job: ClaimedJob
    result: bytes


class Failed(Struct, frozen=True):
    """A job that cannot succeed (bad input, an error of the model): no retry, the message is the client's."""

    job: ClaimedJob
    error: str


class Canceled(Struct, frozen=True):
    """A job whose cancellation its worker has carried out."""

    job: ClaimedJob


Ending = Completed | Failed | Canceled


class FinishOutcome(StrEnum):
    """What became of a finish."""

    STORED = "stored"
    STORED_BEFORE = "stored before"
    STALE = "stale"


class Retry(Struct, frozen=True):
    """A job to run again after `delay_seconds`, because of `error`, which may pass (a timeout, no memory)."""

    job: ClaimedJob
    delay_seconds: float
    error: str


class GiveBack(Struct, frozen=True):
    """A job that its worker has not run: it goes back to the front, and the attempt does not count."""

    job: ClaimedJob


class RetryOutcome(StrEnum):
    """What became of a retry."""

    WAITING = "waiting"
    DEAD = "dead"
    CANCELED = "canceled"
    STALE = "stale"


class LeaseState(StrEnum):
    """What a heartbeat learns about a job that it holds."""

    HELD = "held"
    LOST = "lost"
    CANCEL_REQUESTED = "cancel requested"


class Heartbeat(Struct, frozen=True):
    """The answer to a heartbeat: whether the worker is retired, and the state of each lease, in the order asked.

    `other_owner` is the model that the queue belongs to, where it is not the worker's; None where it is. `was_nobodys`
    is whether it belonged to none before: it is new, or Redis was emptied.
    """

    retired: bool
    leases: tuple[LeaseState, ...]
    other_owner: str | None = None
    was_nobodys: bool = False


class CancelOutcome(Struct, frozen=True):
    """`canceled` ended a waiting job, `requested` asks its worker to stop, `ended` came too late, `unknown`: no job."""

    kind: Literal["canceled", "requested", "ended", "unknown"]
    status: JobStatus | None = None


class Reaped(Struct, frozen=True):
    """What the reaper put right, in jobs; `more` is left to do at once."""

    put_back: int = 0
    buried: int = 0
    expired: int = 0
    promoted: int = 0
    more: bool = False

    def __add__(self, other: "Reaped") -> "Reaped":
        """Return both passes together; `more` is that of the later one."""
        return Reaped(
            self.put_back + other.put_back,
            self.buried + other.buried,
            self.expired + other.expired,
            self.promoted + other.promoted,
            other.more,
        )


class RanModel(Struct, frozen=True):
    """The model that ended a job: its name, version, and the digest of its file ('' where it has none)."""

    name: str
    version: str
    digest: str


class Job(Struct, frozen=True):
    """A job as its client sees it; times are UTC, and None until they come to pass or where nobody wrote them down.

    `model` is None until a worker of ours has ended it.
    """

    id: str
    status: JobStatus
    result: bytes | None = None
    error: str | None = None
    attempts: int = 0
    worker: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    model: RanModel | None = None


class DeadLetter(Struct, frozen=True):
    """A job that used up its attempts; `error` is the last one."""

    job_id: str
    error: str
    attempts: int
    died_at: datetime | None


class RedriveOutcome(StrEnum):
    """What became of a redrive."""

    WAITING = "waiting"
    DATA_GONE = "data gone"
    NOT_DEAD = "not dead"


class WorkerReport(Struct, frozen=True):
    """What a worker says of itself with each heartbeat; all counts are since its start.

    `held_seconds`: for how long it has held jobs without taking or ending any. `signature`: that of its model.
    `stopping`: it takes no new jobs, and ends when it has finished what only it can run.
    """

    model: str = ""
    version: str = ""
    image: str = ""
    in_flight: int = 0
    held_seconds: float = 0
    jobs: int = 0
    rows: int = 0
    busy_seconds: float = 0
    runners: int = 1
    ready_seconds: float = 0
    started_at_ms: int = 0
    signature: str = ""
    stopping: bool = False


class WorkerState(Struct, frozen=True):
    """A worker as the queue knows it."""

    name: str
    silent_seconds: float
    retired: bool
    report: WorkerReport


class QueueDecision(Struct, frozen=True):
    """How many workers a queue should have, as whoever scales for it decided last.

    `replicas` is how many are asked for since then: more than desired until enough of them are idle. `reason` is one
    word, `message` one sentence; `decided_at` is in milliseconds of Redis TIME.
    """

    desired_replicas: Replicas
    replicas: Replicas
    reason: str
    message: str
    decided_at: Milliseconds


class QueueObservation(Struct, frozen=True):
    """One queue at one moment of Redis' clock.

    `length` jobs wait in the list, canceled and expired ones not counted. `samples` are (position from the front,
    seconds that the job there has waited; None where nobody knows) at even distances, the next job to be taken first.
    `retired` names all workers that are barred from claiming, also those without heartbeats.
    `counters` grow as long as the queue lives: submitted, completed, failed, canceled, expired, retried, dead,
    redriven, stale, moved.
    `decision` is None when nobody has scaled for this queue lately. `model` is whose the queue is, or was last; None
    where no worker of ours has been.
    """

    now_ms: int
    length: int
    in_flight: int
    delayed: int
    dead: int
    dead_bytes: int = 0
    samples: tuple[tuple[int, float | None], ...] = ()
    workers: tuple[WorkerState, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    retired: frozenset[str] = frozenset()
    decision: QueueDecision | None = None
    model: str | None = None

    @property
    def missing(self) -> int:
        """Jobs that were accepted and neither ended nor are here: 0, unless somebody else wrote or deleted keys.

        Negative where producers of another kind push into the list: their jobs are counted when they are claimed.
        """
        counted = self.counters.get
        came = counted("submitted", 0) + counted("redriven", 0)
        ended = sum(counted(name, 0) for name in ("completed", "failed", "canceled", "expired", "moved"))
        return came - ended - self.length - self.in_flight - self.delayed
