"""What a worker has done so far, counted by its runners and reported with its heartbeats."""

import threading


class Activity:
    """Counts since the worker's start; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.jobs = 0
        self.rows = 0
        self.busy_seconds = 0.0

    def add(self, jobs: int, busy_seconds: float) -> None:
        with self._lock:
            self.jobs += jobs
            self.busy_seconds += busy_seconds

    def add_rows(self, rows: int) -> None:
        with self._lock:
            self.rows += rows
