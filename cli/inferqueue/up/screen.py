"""What `inferqueue up` shows: calm lines, and a moving one while a person waits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.status import Status

QUIET_SECONDS = 10.0


class Screen:
    """Lines on the terminal; a closed terminal must not end the programs, so it is written to without complaint."""

    def __init__(self) -> None:
        self._console = Console(soft_wrap=True, highlight=False)
        self._status: Status | None = None
        self._said: dict[str, float] = {}

    def say(self, text: str = "") -> None:
        """Show text as it is."""
        try:
            self._console.print(text, markup=False)
        except OSError:
            return

    def event(self, text: str) -> None:
        """Show what has just happened, with the time; the same text only now and then."""
        now = time.monotonic()
        if now - self._said.get(text, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        self._said = {known: when for known, when in self._said.items() if now - when < QUIET_SECONDS} | {text: now}
        self.say(f"{datetime.now().astimezone():%H:%M:%S}  {text}")

    def progress(self, text: str) -> None:
        """Show what is being waited for, on a terminal; the next call replaces it."""
        if self._status is not None:
            self._status.update(text)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something is being waited for: a moving line on a terminal, elsewhere one plain line."""
        if not self._console.is_terminal:
            self.say(text)
            yield
            return
        with self._console.status(text) as self._status:
            try:
                yield
            finally:
                self._status = None
