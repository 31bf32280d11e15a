"""A queue and its workers in simulated time: one first-in-first-out list, one job a worker, a law that scales them."""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Protocol

from inferqueue.simulation.loads import Load
from inferqueue_core.scaling import RELEASE_SECONDS

TAIL_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Setting:
    """The world of a simulation, in seconds; `outages` are times (from, to) during which Redis cannot be read."""

    max_wait: float = 30.0
    cold_start: float = 20.0
    service_seconds: float = 1.0
    max_replicas: int = 100
    seed: int = 1
    outages: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """What a law may see. `readable` is False during an outage: then only `replicas` and the pods' states are true."""

    now: float
    readable: bool
    queued: int
    in_flight: int
    submitted: int
    ended: int
    busy_seconds: float
    oldest: tuple[tuple[int, float], ...]
    replicas: int
    ready: int
    busy: int
    starting: tuple[float, ...]
    cold_starts: tuple[float, ...]
    held: tuple[float, ...]


class Law(Protocol):
    """A scaling law under simulation.

    `idle_only`: it stops idle workers alone; `wakes`: a push into an empty queue wakes it; `releases`, which may change
    with every tick: a worker that has nothing more to do does, within `RELEASE_SECONDS`.
    """

    name: str
    idle_only: bool
    wakes: bool
    releases: bool

    def next_tick(self, now: float) -> float:
        """Return the time of the next tick after `now`."""

    def tick(self, view: View) -> int:
        """Return the replicas that there should be now."""


class _State(Enum):
    STARTING = 0
    IDLE = 1
    BUSY = 2
    GONE = 3


@dataclass(eq=False, slots=True)
class _Pod:
    created: float
    ready_at: float
    state: _State = _State.STARTING
    leaving: bool = False
    busy_since: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What happened under one law: each job's wait in seconds, and what the workers cost."""

    waits: list[float] = field(default_factory=list)
    replica_seconds: float = 0.0
    busy_stopped: int = 0
    scale_events: int = 0
    first_ready: float | None = None
    replicas: list[tuple[float, int]] = field(default_factory=list)


class Simulation:
    """One run of a law over a load."""

    def __init__(self, load: Load, law: Law, setting: Setting) -> None:
        self._load = load
        self._law = law
        self._setting = setting
        self._random = Random(f"pods {setting.seed}")
        self._now = 0.0
        self._events: list[tuple[float, int, int, object]] = []
        self._count = 0
        self._queue: deque[tuple[float, float]] = deque()
        self._pods: list[_Pod] = []
        self._idle: deque[_Pod] = deque()
        self._desired = 0
        self._submitted = self._ended = 0
        self._busy_seconds = 0.0
        self._cold_starts: list[float] = []
        self._woken_at = -1.0
        self._looked_at = -1.0
        self._release_at = -1.0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Run until every job has ended and the law had fifteen minutes to let go of its workers."""
        end = self._load.duration + TAIL_SECONDS
        arrivals = iter(self._load.jobs)
        upcoming = next(arrivals, None)
        self._schedule(self._law.next_tick(-1e-9), "tick", None)
        while True:
            at = self._events[0][0] if self._events else float("inf")
            if upcoming is not None and upcoming[0] <= at:
                self._now = upcoming[0]
                self._arrive(upcoming)
                upcoming = next(arrivals, None)
                continue
            if at > end and upcoming is None and self._ended == len(self._load.jobs):
                break
            self._now, _, kind, subject = heapq.heappop(self._events)
            self._handle(kind, subject)
        for pod in self._pods:
            self.outcome.replica_seconds += max(0.0, end - pod.created)
        return self.outcome

    def _schedule(self, at: float, kind: str, subject: object) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, _KINDS[kind], subject))

    def _handle(self, kind: int, subject: object) -> None:
        if kind == _KINDS["tick"]:
            self._tick()
            self._schedule(self._law.next_tick(self._now), "tick", None)
        elif kind == _KINDS["wake"]:
            self._tick()
        elif kind == _KINDS["release"]:
            if self._release_at == self._now:
                self._tick()
        elif isinstance(subject, _Pod):
            (self._ready if kind == _KINDS["ready"] else self._done)(subject)

    def _arrive(self, job: tuple[float, float]) -> None:
        self._submitted += 1
        if not self._queue and self._law.wakes and self._woken_at < self._now:
            # Jobs that come at the same moment are there when the law has been woken.
            self._woken_at = self._now + 0.05
            self._schedule(self._woken_at, "wake", None)
        self._queue.append(job)
        self._feed()

    def _feed(self) -> None:
        while self._queue and self._idle:
            pod = self._idle.popleft()
            if pod.state is not _State.IDLE or pod.leaving:
                continue
            arrival, service = self._queue.popleft()
            self.outcome.waits.append(self._now - arrival)
            pod.state, pod.busy_since = _State.BUSY, self._now
            self._schedule(self._now + service, "done", pod)

    def _ready(self, pod: _Pod) -> None:
        if pod.state is not _State.STARTING:
            return
        pod.state = _State.IDLE
        self._cold_starts.append(self._now - pod.created)
        if self.outcome.first_ready is None:
            self.outcome.first_ready = self._now
        self._idle.append(pod)
        self._feed()

    def _done(self, pod: _Pod) -> None:
        self._ended += 1
        self._busy_seconds += self._now - pod.busy_since
        if pod.leaving:
            self._remove(pod)
            return
        pod.state = _State.IDLE
        self._idle.append(pod)
        self._feed()
        if not self._queue and self._release_at < self._now and self._law.releases:
            self._release_at = max(self._now, self._looked_at + RELEASE_SECONDS)
            self._schedule(self._release_at, "release", None)

    def _remove(self, pod: _Pod) -> None:
        pod.state = _State.GONE
        self.outcome.replica_seconds += self._now - pod.created
        self._pods.remove(pod)

    def _tick(self) -> None:
        self._looked_at, self._release_at = self._now, -1.0
        wanted = max(0, min(self._law.tick(self._view()), self._setting.max_replicas))
        if wanted == self._desired:
            return
        before = self._desired
        if wanted > before:
            for _ in range(wanted - before):
                self._create()
            self._desired = wanted
        else:
            self._desired = before - self._stop(before - wanted)
        if self._desired != before:
            self.outcome.scale_events += 1
            self.outcome.replicas.append((self._now, self._desired))

    def _create(self) -> None:
        start = self._setting.cold_start * self._random.uniform(0.9, 1.1)
        pod = _Pod(self._now, self._now + start)
        self._pods.append(pod)
        self._schedule(pod.ready_at, "ready", pod)

    def _stop(self, count: int) -> int:
        """Stop workers as Kubernetes picks them: not ready ones first, then the newest, unless idle ones are marked."""
        staying = [pod for pod in self._pods if not pod.leaving]
        victims = sorted(
            (pod for pod in staying if not self._law.idle_only or pod.state is not _State.BUSY),
            key=lambda pod: (pod.state is not _State.STARTING, -pod.ready_at),
        )[:count]
        for pod in victims:
            pod.leaving = True
            if pod.state is _State.BUSY:
                self.outcome.busy_stopped += 1
            else:
                self._remove(pod)
        return len(victims)

    def _view(self) -> View:
        now = self._now
        readable = not any(start <= now < end for start, end in self._setting.outages)
        staying = [pod for pod in self._pods if not pod.leaving]
        busy = [pod for pod in self._pods if pod.state is _State.BUSY]
        starting = tuple(now - pod.created for pod in staying if pod.state is _State.STARTING)
        cold_starts, self._cold_starts = tuple(self._cold_starts), []
        return View(
            now,
            readable,
            len(self._queue),
            len(busy),
            self._submitted,
            self._ended,
            self._busy_seconds,
            self._samples(),
            self._desired,
            len(staying) - len(starting),
            sum(1 for pod in busy if not pod.leaving),
            starting,
            cold_starts,
            tuple(now - pod.busy_since for pod in busy if not pod.leaving),
        )

    def _samples(self) -> tuple[tuple[int, float], ...]:
        length = len(self._queue)
        if length == 0:
            return ()
        positions: Sequence[int] = sorted({int(share * (length - 1)) for share in (0, 0.1, 0.25, 0.5, 0.75, 1)})
        return tuple((position, self._now - self._queue[position][0]) for position in positions)


_KINDS = {"ready": 0, "done": 1, "wake": 2, "release": 3, "tick": 4}
