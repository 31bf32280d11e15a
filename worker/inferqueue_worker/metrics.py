"""What the worker counts, in base units: plain numbers, which `exposition` names for Prometheus.

prometheus_client is not imported here: with the HTTP server that it brings it was a tenth of a start.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from msgspec import Struct

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)


class Series(Struct):
    """The numbers of one label since a Unix time: what the values add up to, and how many fell into each bucket."""

    since: float
    buckets: list[int]
    sum: float = 0.0


class Tally:
    """Adds up values by label, and counts how many lie up to each of `bounds` and beyond the last one.

    Without a label there is one series, which begins at 0. Any thread may add.
    """

    def __init__(self, bounds: Sequence[float] = (), *, labeled: bool = False) -> None:
        self.bounds = bounds
        self._lock = threading.Lock()
        self._series: dict[tuple[str, ...], Series] = {}
        if not labeled:
            self._series[()] = self._new()

    def add(self, value: float, *labels: str) -> None:
        with self._lock:
            series = self._series.get(labels)
            if series is None:
                series = self._series[labels] = self._new()
            series.sum += value
            series.buckets[bisect_left(self.bounds, value)] += 1

    def series(self) -> dict[tuple[str, ...], Series]:
        """Return the numbers of this moment by label."""
        with self._lock:
            return {labels: Series(s.since, [*s.buckets], s.sum) for labels, s in self._series.items()}

    def _new(self) -> Series:
        return Series(time.time(), [0] * (len(self.bounds) + 1))


class WorkerMetrics:
    """All that one worker counts."""

    def __init__(self) -> None:
        self.jobs = Tally(labeled=True)
        self.stale = Tally()
        self.fallbacks = Tally(labeled=True)
        self.row_mismatches = Tally()
        self.checked_batches = Tally()
        self.strays = Tally(labeled=True)
        self.batch_rows = Tally(_ROWS)
        self.phase_seconds = Tally(_SECONDS, labeled=True)
        self.in_flight: Callable[[], int] = lambda: 0
        self.batchable: Callable[[], bool] = lambda: False
        self.ready_seconds = 0.0
        self.model: dict[str, str] = {}
        self.model_stale = False
