"""What a worker has done so far, counted by its runners and reported with its heartbeats."""

import threading


class Activity:
    """Counts since the worker's start; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.jobs = 0
        self.rows = 0
        self.busy_seconds = 0.0
        self._turned_at = 0.0

    def begin(self, now: float) -> None:
        """Note that a runner has taken jobs; `now` in monotonic seconds, here and below."""
        with self._lock:
            self._turned_at = now

    def end(self, jobs: int, began: float, now: float) -> None:
        """Count the jobs that a runner took at `began`."""
        with self._lock:
            self.jobs += jobs
            self.busy_seconds += now - began
            self._turned_at = now

    def since_turn(self, now: float) -> float:
        """Return the seconds for which no runner has taken or ended jobs."""
        with self._lock:
            return now - self._turned_at

    def add_rows(self, rows: int) -> None:
        with self._lock:
            self.rows += rows
