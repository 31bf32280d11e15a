"""How many jobs a runner takes at once, by what real runs take: the trial at load knows made-up rows only."""

import threading
from collections.abc import Iterator, Sequence

from inferqueue_worker.timing import LEAST_GAIN, Timing

# A claim that runs no longer than this hoards nothing, whatever its jobs gain by running together.
SHORT_SECONDS = 0.25
# A claim holds at most so many times the jobs of the largest one before it: the first claim of a worker holds one.
GROWTH = 4
# The weight of the latest run in the average of its size.
_WEIGHT = 0.3
# A run that takes so many times longer or shorter than its size did so far tells that the jobs are other ones.
_CHANGE = 2.0


class Pace:
    """Learns from runs how many jobs make a claim: `limit` at most, which the trial found. Thread-safe.

    Runs are told apart by size, the largest power of two up to their rows. The time of a size that has not been seen
    follows from the next smaller one that has, in the ratio of the trial's times. A claim that would run for longer
    than SHORT_SECONDS is only as large as pays: each doubling gains 5 % in rows a second, as in the trial, and it ends
    before two doublings in turn that do not.
    """

    def __init__(self, timings: Sequence[Timing], limit: int, max_rows: int) -> None:
        self._trial = {timing.rows: timing.seconds / timing.rows for timing in timings}
        self._limit = limit
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._seen: dict[int, float] = {}
        self._rows_per_job = 1.0
        self._largest_claim = 0
        self._jobs = 1

    @property
    def jobs(self) -> int:
        """How many jobs to claim next."""
        return self._jobs

    def ran(self, rows: int, seconds: float) -> None:
        """Take in that a run of so many rows has taken so long."""
        size, each = _size(rows), max(seconds, 1e-9) / max(rows, 1)
        with self._lock:
            before = self._seen.get(size)
            if before is None:
                self._seen[size] = each
            elif before / _CHANGE < each < before * _CHANGE:
                self._seen[size] = before + _WEIGHT * (each - before)
            else:
                # What larger runs took is of jobs that were other ones.
                self._seen = {known: was for known, was in self._seen.items() if known < size} | {size: each}

    def claimed(self, jobs: int, rows: int) -> None:
        """Take in that a claim of so many jobs with so many rows has been run; decide on the next one."""
        with self._lock:
            self._rows_per_job += _WEIGHT * (rows / jobs - self._rows_per_job)
            self._largest_claim = max(self._largest_claim, jobs)
            most = min(self._limit, GROWTH * self._largest_claim)
            self._jobs = most if self._is_short(most) else self._best_jobs(most)

    def _is_short(self, jobs: int) -> bool:
        if not self._seen:
            return True
        rows, each = self._expected(jobs)
        return rows * each <= SHORT_SECONDS

    def _best_jobs(self, most: int) -> int:
        best, best_rate, fruitless = 1, 0.0, 0
        for jobs in _doublings(most):
            rows, each = self._expected(jobs)
            if rows * each <= SHORT_SECONDS or 1 / each >= LEAST_GAIN * best_rate:
                best, fruitless = jobs, 0
            else:
                fruitless += 1
            if fruitless == 2:
                break
            best_rate = max(best_rate, 1 / each)
        return best

    def _expected(self, jobs: int) -> tuple[int, float]:
        """Return how many rows so many jobs have, and how many seconds each row takes when these run together."""
        rows = max(1, round(jobs * self._rows_per_job))
        return rows, self._seconds_per_row(_size(min(rows, self._max_rows)))

    def _seconds_per_row(self, size: int) -> float:
        nearest = max((known for known in self._seen if known <= size), default=min(self._seen))
        if nearest >= size:
            return self._seen[nearest]
        return self._seen[nearest] * self._in_trial(size) / self._in_trial(nearest)

    def _in_trial(self, size: int) -> float:
        nearest = max((rows for rows in self._trial if rows <= size), default=None)
        return 1.0 if nearest is None else self._trial[nearest]


def _size(rows: int) -> int:
    return 1 << max(0, rows.bit_length() - 1)


def _doublings(most: int) -> Iterator[int]:
    """Yield 1, 2, 4, … below `most`, and then `most`."""
    jobs = 1
    while jobs < most:
        yield jobs
        jobs *= 2
    yield most
