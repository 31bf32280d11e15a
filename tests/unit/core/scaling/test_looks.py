"""Looks at Redis, in the law's terms."""

import msgspec

from inferqueue_core.jobs import QueueObservation, WorkerReport, WorkerState
from inferqueue_core.scaling import QueueLook
from inferqueue_core.scaling.looks import look_at


def worker(name: str, **report: float) -> WorkerState:
    return WorkerState(name, 0.0, False, msgspec.convert(report, WorkerReport))


def test_an_empty_queue() -> None:
    assert look_at(QueueObservation(1, 0, 0, 0, 0)) == QueueLook(0, 0)


def test_ages_are_those_that_redis_could_tell() -> None:
    look = look_at(QueueObservation(1, 3, 0, 0, 0, samples=((0, 5.0), (1, None), (2, 0.0))))
    assert look.ages == ((0, 5.0), (2, 0.0))


def test_sums_over_workers_and_jobs_that_wait_for_a_retry() -> None:
    busy = worker("a", jobs=10, busy_seconds=5, in_flight=1, held_seconds=3, runners=2)
    workers = (busy, worker("b", jobs=2, busy_seconds=1))
    counters = {"submitted": 20, "completed": 9, "failed": 2, "canceled": 1, "expired": 1, "stale": 7}
    look = look_at(QueueObservation(1, 3, 1, 4, 0, workers=workers, counters=counters))
    assert (look.queued, look.in_flight, look.busy) == (7, 1, 1)
    assert (look.jobs_done, look.busy_seconds, look.runners) == (12, 6, 2)
    assert look.held == (3,)
    assert (look.submitted, look.ended) == (20, 13)
