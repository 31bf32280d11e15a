"""What the law is told, what it remembers, and what it answers."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

# What is assumed until the first measurement: a second a job, ten seconds until a new worker is ready.
FIRST_SERVICE_RATE = 1.0
FIRST_COLD_START = 10.0
# A worker that has nothing more to do is let go so soon, together with those that are done by then.
RELEASE_SECONDS = 0.25
# After such decisions none is let go because it has nothing to do.
_HOLDING = frozenset({"Arrivals", "Keeping", "Minimum", "Suspended"})


@dataclass(frozen=True, slots=True)
class Objective:
    """What a queue's owner asks for: exactly one of `max_wait` (seconds) and `backlog_per_replica` (jobs) is set.

    `fallback_replicas` are there at the least once Redis could not be read for `fallback_after` seconds.
    """

    max_wait: float | None = None
    backlog_per_replica: float | None = None
    min_replicas: int = 0
    max_replicas: int = 20
    fallback_after: float = 60.0
    fallback_replicas: int = 0
    suspend: bool = False

    def __post_init__(self) -> None:
        if (self.max_wait is None) == (self.backlog_per_replica is None):
            raise ValueError("an objective has either max_wait or backlog_per_replica")
        if not 0 <= self.min_replicas <= self.max_replicas:
            raise ValueError(
                f"min_replicas {self.min_replicas} must lie between 0 and max_replicas {self.max_replicas}"
            )


@dataclass(frozen=True, slots=True)
class QueueLook:
    """A queue at one moment.

    `ages`: (position from the front, seconds since it was submitted) of some waiting jobs, oldest first; none where
    producers give ids without a time. `submitted` and `ended`: counters that only grow. `busy`: workers that hold jobs.
    `jobs_done` and `busy_seconds`: what the workers report together since their starts, runners side by side counted
    each; `runners`: how many such runners a worker has. `held`: seconds for which each busy worker has neither taken
    nor ended jobs; none where workers do not say so.
    """

    queued: int
    in_flight: int
    ages: tuple[tuple[int, float], ...] = ()
    submitted: int = 0
    ended: int = 0
    busy: int = 0
    jobs_done: int = 0
    busy_seconds: float = 0.0
    runners: int = 1
    held: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers of a queue: `replicas` asked for, `ready` ones, and the seconds since each `starting` one was made.

    `cold_starts`: seconds from creation to readiness of workers that became ready since the last observation.
    """

    replicas: int
    ready: int
    starting: tuple[float, ...] = ()
    cold_starts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything seen at `now` (seconds of any steady clock); `queue` is None while Redis cannot be read."""

    now: float
    fleet: Fleet
    queue: QueueLook | None


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision hands to the next; saved as JSON, so that a restart changes nothing.

    `peaks`: (time, replicas needed), decreasing: what the release window must still honour. `counts`: (time, jobs that
    had arrived), for the arrival rate, and `last_arrival`, when one last came. `quiet_since`: since when nothing has
    waited or run; `blind_since`: since when Redis could not be read. `service_rate`: jobs a second of one worker, and
    `service_jobs`, how many have taught it, None for one that was learned at another time. `cold_starts`: seconds, the
    newest last; `assumed_cold_start`: what holds until there is one. `ready_once`: one of this image has been ready.
    """

    peaks: tuple[tuple[float, int], ...] = ()
    counts: tuple[tuple[float, float], ...] = ()
    arrived: float = 0.0
    last_arrival: float | None = None
    last_look: QueueLook | None = None
    quiet_since: float | None = None
    blind_since: float | None = None
    service_rate: float | None = None
    service_jobs: float | None = None
    cold_starts: tuple[float, ...] = ()
    assumed_cold_start: float | None = None
    ready_once: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what `to_json` gave, also after a trip through JSON text, which turns tuples into lists."""
        look = values.get("last_look")
        if look is not None:
            look = QueueLook(**{**look, "ages": _pairs(look["ages"]), "held": tuple(look["held"])})
        return cls(
            peaks=_pairs(values["peaks"]),
            counts=_pairs(values["counts"]),
            arrived=values["arrived"],
            last_arrival=values["last_arrival"],
            last_look=look,
            quiet_since=values["quiet_since"],
            blind_since=values["blind_since"],
            service_rate=values["service_rate"],
            service_jobs=values["service_jobs"],
            cold_starts=tuple(values["cold_starts"]),
            assumed_cold_start=values["assumed_cold_start"],
            ready_once=values["ready_once"],
        )


def _pairs(values: Any) -> tuple[Any, ...]:
    return tuple(tuple(pair) for pair in values)


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there should be, and why.

    `reason` is one word and `message` one sentence. `binding_position` names the waiting job that asks for the most (1
    is next), None when nothing waits; `slack` the seconds by which it makes its deadline with the workers that are
    there or starting, None without workers. `memory` is for the next decision.
    """

    desired: int
    reason: str
    message: str
    queued: int = 0
    in_flight: int = 0
    arrival_rate: float = 0.0
    service_rate: float = FIRST_SERVICE_RATE
    cold_start: float = FIRST_COLD_START
    starting: int = 0
    binding_position: int | None = None
    slack: float | None = None
    memory: Memory = field(default_factory=Memory)

    @property
    def holds_idle(self) -> bool:
        """Whether workers that have nothing more to do are held by a flow or a bound: they are no reason to look."""
        return self.reason in _HOLDING
