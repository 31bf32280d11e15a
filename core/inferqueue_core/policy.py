"""How long things live and how often they are tried: the numbers behind the queue's promises."""

from msgspec import Struct

DAY_SECONDS = 86_400


class QueuePolicy(Struct, frozen=True):
    """Times in seconds; every program on one queue should be given the same.

    `job_ttl`: how long an ended job and its result are known. `queue_ttl`: the longest wait of a job without a deadline
    of its own. `lease`: how long a worker may be silent before its jobs run elsewhere. `dead_ttl`, `max_dead`,
    `max_dead_bytes`: how long, how many, and how many bytes of dead letters are kept for a redrive. `idempotency_ttl`:
    how long an Idempotency-Key is kept after its job has ended, `job_ttl` at most.
    """

    job_ttl: float = 3600
    queue_ttl: float = DAY_SECONDS
    lease: float = 30
    max_attempts: int = 3
    max_length: int = 100_000
    max_dead: int = 1_000
    max_dead_bytes: int = 64 * 1024 * 1024
    dead_ttl: float = 7 * DAY_SECONDS
    idempotency_ttl: float = DAY_SECONDS

    @property
    def reap_interval(self) -> float:
        """How often to reap: often enough for «lease + lease/4», and at least once a second for due retries."""
        return min(1.0, self.lease / 4)

    @property
    def silence_limit(self) -> float:
        """After how long without a heartbeat a worker is forgotten."""
        return max(10.0, 2 * self.lease)
