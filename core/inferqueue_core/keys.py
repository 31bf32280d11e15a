"""Every Redis key and channel of inferqueue, named once."""

import re

from msgspec import Struct

QUEUE_NAME_PATTERN = r"^(?!(job:|idem:|models$))[A-Za-z0-9_.:-]{1,200}$"
JOB_ID_PATTERN = r"^[A-Za-z0-9_.:-]{1,128}$"

# What the wake channel says when a worker has nothing more to do; at a first job it tells the queue's length.
IDLE = b"idle"

_queue_name = re.compile(QUEUE_NAME_PATTERN)
_OWN_SUFFIXES = (
    *(":leases", ":delayed", ":deadlines", ":tombstones", ":large", ":dead", ":dead:sizes"),
    *(":workers", ":workers:reports", ":retired", ":stats", ":wake", ":learned", ":decision", ":model"),
)


def check_queue_name(name: str) -> str:
    """Return `name`; raise ValueError when Redis or another key of ours could take it for something else."""
    if not _queue_name.fullmatch(name) or name.endswith(_OWN_SUFFIXES):
        raise ValueError(
            f"queue name {name!r} is not usable: take 1 to 200 letters, digits, '_', '.', ':' or '-', and neither "
            f"'models', nor a name that begins with 'job:' or 'idem:' or ends with {', '.join(_OWN_SUFFIXES)}"
        )
    return name


class QueueKeys(Struct, frozen=True):
    """The keys of one queue; `prefix` stands before each (a hash tag such as `{iq}:` on Redis Cluster)."""

    queue_name: str
    prefix: str = ""

    def __post_init__(self) -> None:
        check_queue_name(self.queue_name)

    @property
    def queue(self) -> str:
        """LIST of job ids; producers push at the left, workers take from the right."""
        return f"{self.prefix}{self.queue_name}"

    @property
    def leases(self) -> str:
        """ZSET job id -> lease deadline, milliseconds of Redis TIME."""
        return f"{self.queue}:leases"

    @property
    def delayed(self) -> str:
        """ZSET job id -> when its retry is due, milliseconds of Redis TIME."""
        return f"{self.queue}:delayed"

    @property
    def deadlines(self) -> str:
        """ZSET job id -> the moment by which it must have started, milliseconds of Redis TIME."""
        return f"{self.queue}:deadlines"

    @property
    def tombstones(self) -> str:
        """SET of job ids in the list that have ended there: canceled, or expired."""
        return f"{self.queue}:tombstones"

    @property
    def large(self) -> str:
        """STRING that is there while jobs with large data may wait (`protocol.LARGE_BYTES`)."""
        return f"{self.queue}:large"

    @property
    def dead(self) -> str:
        """LIST of dead letters, newest first, capped."""
        return f"{self.queue}:dead"

    @property
    def dead_sizes(self) -> str:
        """HASH dead letter -> bytes of its data, and all of them together under the empty field."""
        return f"{self.queue}:dead:sizes"

    @property
    def workers(self) -> str:
        """ZSET worker -> last heartbeat, milliseconds of Redis TIME."""
        return f"{self.queue}:workers"

    @property
    def worker_reports(self) -> str:
        """HASH worker -> its last report as JSON (`WorkerReport`)."""
        return f"{self.queue}:workers:reports"

    @property
    def retired(self) -> str:
        """SET with a time to live: workers that were told to take no more."""
        return f"{self.queue}:retired"

    @property
    def stats(self) -> str:
        """HASH of counters: submitted, completed, failed, canceled, expired, retried, dead, redriven, stale, moved."""
        return f"{self.queue}:stats"

    @property
    def learned(self) -> str:
        """HASH worker image -> its service rate and cold starts as JSON."""
        return f"{self.queue}:learned"

    @property
    def decision(self) -> str:
        """STRING with a time to live: the last scaling decision as JSON (`QueueDecision`)."""
        return f"{self.queue}:decision"

    @property
    def model(self) -> str:
        """STRING: the model (percent-encoded) that the queue belongs to; with no worker alive another takes it."""
        return f"{self.queue}:model"

    @property
    def wake(self) -> str:
        """Channel: the first job came into an empty queue, or (`IDLE`) a worker has nothing more to do."""
        return f"{self.queue}:wake"

    @property
    def jobs(self) -> str:
        """The beginning of every job's keys."""
        return f"{self.prefix}job:"


def job_key(prefix: str, job_id: str, part: str) -> str:
    """Name one key of a job; `part` is data, status, result, error, owner or cancel."""
    return f"{prefix}job:{job_id}:{part}"


def events_channel(prefix: str, job_id: str) -> str:
    """Name the channel on which a job's new states are published."""
    return f"{prefix}job:{job_id}:events"


def models_key(prefix: str) -> str:
    """Name the HASH `model/version` -> `ModelInfo` as JSON."""
    return f"{prefix}models"


def idempotency_key(prefix: str, digest: str) -> str:
    """Name the string that binds an Idempotency-Key (its digest) to the jobs it made."""
    return f"{prefix}idem:{digest}"
