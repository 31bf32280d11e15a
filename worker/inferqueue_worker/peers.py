"""The other workers of this worker's model: which versions they serve, and what follows for this worker."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Literal

from inferqueue_core.jobs import Claimant, JobTarget, QueueObservation, WorkerState
from inferqueue_core.models import ModelInfo
from inferqueue_core.queue import JobQueue

# Whoever puts a job into the queue knows for about two seconds no better than that a version is still served.
LINGER_SECONDS = 4.0
# How long jobs that ask for a version wait for a worker of it, before they fail.
PATIENCE_SECONDS = 60.0
# For so long after the last job of another version it is of interest who serves that.
INTEREST_SECONDS = 60.0

Owed = Literal["nothing", "pinned", "all"]


class Peers:
    """What this worker knows of the others; shared by its threads.

    While the queue holds jobs of other versions, `look` asks Redis who serves those. `parting_over` is set when this
    worker, told to stop, must end whatever it still owes.
    """

    def __init__(self, worker: str, info: ModelInfo, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker = worker
        self._info = info
        self._clock = clock
        self._lock = threading.Lock()
        # Held while Redis is asked, which the heartbeat must not wait for.
        self._owed_lock = threading.Lock()
        self._wanted: dict[str, float] = {}
        self._absent_since: dict[str, float] = {}
        self._claimant = Claimant(info.name, info.version, info.signature)
        self._owed: Owed | None = None
        self.parting_over = threading.Event()

    @property
    def claimant(self) -> Claimant:
        """Whose jobs this worker may claim."""
        return self._claimant

    def note(self, targets: Iterable[JobTarget]) -> None:
        """Note for what other versions of the model jobs were found."""
        with self._lock:
            now = self._clock()
            for target in targets:
                if target.model == self._info.name and target.version != self._info.version:
                    self._wanted[target.version] = now

    def look(self, queue: JobQueue) -> None:
        """Find out who serves the versions that jobs were found for; asks nothing while there are none."""
        now = self._clock()
        with self._lock:
            self._wanted = {version: at for version, at in self._wanted.items() if now - at < INTEREST_SECONDS}
            wanted = {*self._wanted}
        served = {peer.report.version for peer in self._here(queue)} if wanted else set()
        with self._lock:
            absent = wanted - served
            self._absent_since = {version: self._absent_since.get(version, now) for version in absent}
            gone = {version for version, since in self._absent_since.items() if now - since >= PATIENCE_SECONDS}
            info = self._info
            self._claimant = Claimant(info.name, info.version, info.signature, frozenset(absent), frozenset(gone))

    def are_idle(self, queue: JobQueue) -> bool:
        """Whether nothing waits, and a worker that serves the same has nothing to do."""
        seen = queue.observe()
        return seen.length == 0 and any(
            takes_jobs(peer) and not peer.report.in_flight and peer.report.version == self._info.version
            for peer in self._others(seen)
        )

    def owed(self, queue: JobQueue) -> Owed:
        """Give which jobs of its version this worker must run before it stops: those that no other can take.

        While no other version is served anywhere this is a stop, no change of versions: what waits waits on.
        """
        with self._owed_lock:
            if self._owed is None:
                self._owed = self._find_owed(queue)
            return self._owed

    def _find_owed(self, queue: JobQueue) -> Owed:
        info = self._info
        here = [peer.report for peer in self._here(queue) if takes_jobs(peer)]
        if any(report.version == info.version for report in here):
            return "nothing"
        if here:
            return "pinned" if any(report.signature == info.signature for report in here) else "all"
        elsewhere = {
            model.queue for model in queue.models().values() if model.name == info.name and model.queue != info.queue
        }
        served = any(takes_jobs(peer) for name in elsewhere for peer in self._here(queue.sibling(name)))
        return "all" if served else "nothing"

    def _here(self, queue: JobQueue) -> list[WorkerState]:
        return self._others(queue.observe())

    def _others(self, seen: QueueObservation) -> list[WorkerState]:
        return [peer for peer in seen.workers if peer.report.model == self._info.name and peer.name != self._worker]


def takes_jobs(worker: WorkerState) -> bool:
    """Whether a worker will go on claiming."""
    return not (worker.retired or worker.report.stopping)
