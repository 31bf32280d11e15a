"""One program that `up` looks after."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from inferqueue.up.guard import Guard
from inferqueue.up.logs import LogFile, LogLine

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
SETTLED_SECONDS = 30.0


class Backoff:
    """How long to wait before a program is started again: longer each time it ends soon after its start."""

    def __init__(self) -> None:
        self._quick_ends = 0

    def delay(self, lived_seconds: float) -> float:
        """Return the seconds to wait, for a program that has lived this long."""
        if lived_seconds >= SETTLED_SECONDS:
            self._quick_ends = 0
        delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**self._quick_ends)
        self._quick_ends = min(self._quick_ends + 1, 10)
        return delay


class Child:
    """A program: how it is started, its process, its log. `stage` says when the guard ends it, lower ones first."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        guard: Guard,
        stage: int = 0,
        is_ready: Callable[[LogLine], bool],
        inherits: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.environment = dict(environment)
        self.log = LogFile(log)
        self.ready_line: LogLine | None = None
        self.ready_seconds: float | None = None
        self.restart_at: float | None = None
        self.last_loud = ""
        self._command = command
        self._guard = guard
        self._stage = stage
        self._is_ready = is_ready
        self._inherits = inherits
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._backoff = Backoff()

    @property
    def age(self) -> float:
        """The seconds since its last start."""
        return time.monotonic() - self._started

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start the process, in a process group of its own: a terminal's Ctrl-C reaches `up` alone."""
        self.ready_line, self.ready_seconds, self.restart_at, self.last_loud = None, None, None, ""
        with self.log.path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                pass_fds=self._inherits,
            )
        self._guard.watch(self._process.pid, self._stage)
        self._started = time.monotonic()

    def read_log(self) -> list[LogLine]:
        """Return the new lines of its log, and notice the one that says that it is ready."""
        lines = self.log.new_lines()
        for line in lines:
            if self.ready_line is None and self._is_ready(line):
                self.ready_line, self.ready_seconds = line, self.age
            if line.is_loud:
                self.last_loud = line.text
        return lines

    def reap(self) -> str | None:
        """Say how the process has ended, once; None while it runs or when that was said."""
        code = None if self._process is None else self._process.poll()
        if self._process is None or code is None:
            return None
        self._guard.forget(self._process.pid, self._stage)
        self._process = None
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def plan_restart(self) -> float:
        """Decide when to start it again; gives the seconds until then."""
        now = time.monotonic()
        delay = self._backoff.delay(now - self._started)
        self.restart_at = now + delay
        return delay

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it has started; nothing happens when it has ended."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)
