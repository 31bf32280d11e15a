"""The jobs that this worker holds and the runs that are under way; shared by its threads."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct, field

from inferqueue_core.jobs import ClaimedJob, LeaseState
from inferqueue_worker.predictor import RunControl

# One worker may hold a job twice: an attempt whose lease was lost still runs while the next one has begun.
_Lease = tuple[str, str]


def _lease(job: ClaimedJob) -> _Lease:
    return job.id, job.fence


class _Run(Struct):
    jobs: frozenset["_Lease"]
    deadline: float
    control: RunControl = field(default_factory=RunControl)


class HeldJobs:
    """Which jobs are claimed and not yet ended, which of them are lost or to be canceled, and what runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[_Lease, ClaimedJob] = {}
        self._states: dict[_Lease, LeaseState] = {}
        self._runs: list[_Run] = []
        self._stopping: str | None = None

    def add(self, jobs: Iterable[ClaimedJob]) -> None:
        with self._lock:
            self._jobs.update((_lease(job), job) for job in jobs)

    def drop(self, jobs: Iterable[ClaimedJob]) -> None:
        with self._lock:
            for job in jobs:
                self._jobs.pop(_lease(job), None)
                self._states.pop(_lease(job), None)

    def all(self) -> list[ClaimedJob]:
        with self._lock:
            return list(self._jobs.values())

    @property
    def all_wanted(self) -> bool:
        """Whether no job is lost or to be canceled: the common case, told without looking at each."""
        return not self._states

    def state(self, job: ClaimedJob) -> LeaseState:
        with self._lock:
            return self._states.get(_lease(job), LeaseState.HELD)

    def note(self, jobs: Sequence[ClaimedJob], states: Sequence[LeaseState]) -> None:
        """Take in what a heartbeat learned; a run of which no job is wanted any more is stopped."""
        with self._lock:
            for job, state in zip(jobs, states, strict=True):
                if state is not LeaseState.HELD and _lease(job) in self._jobs:
                    self._states[_lease(job)] = state
            idle = [run for run in self._runs if run.jobs <= self._states.keys()]
        for run in idle:
            run.control.stop("canceled")

    @contextmanager
    def run(self, jobs: Iterable[ClaimedJob], deadline: float) -> Iterator[RunControl]:
        """Count these jobs as running until `deadline` (monotonic seconds)."""
        run = _Run(frozenset(map(_lease, jobs)), deadline)
        with self._lock:
            self._runs.append(run)
            stopping = self._stopping
        if stopping is not None:
            run.control.stop(stopping)
        try:
            yield run.control
        finally:
            with self._lock:
                self._runs.remove(run)

    def stop_overdue(self, now: float) -> float | None:
        """Stop the runs whose deadline has passed; give the next deadline, None when nothing runs."""
        with self._lock:
            overdue = [run for run in self._runs if run.deadline <= now]
            upcoming = min((run.deadline for run in self._runs if run.deadline > now), default=None)
        for run in overdue:
            run.control.stop("timeout")
        return upcoming

    def is_stuck(self, now: float, patience: float) -> bool:
        """Whether a run goes on although it was to end more than `patience` seconds ago."""
        with self._lock:
            return any(run.deadline + patience < now for run in self._runs)

    def stop_all(self) -> None:
        """Stop every run, now and later: the worker's grace period is over."""
        with self._lock:
            self._stopping = "shutdown"
            runs = list(self._runs)
        for run in runs:
            run.control.stop("shutdown")
