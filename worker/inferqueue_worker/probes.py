"""What the probes are told."""

import threading
from collections.abc import Callable


class Probes:
    """Not ready and in good health until the worker says otherwise.

    `ailment` names what only a restart can mend, None while there is nothing.
    """

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.ailment: Callable[[], str | None] = lambda: None

    def live(self) -> tuple[bool, str]:
        found = self.ailment()
        return found is None, found or "ok"

    def able(self) -> tuple[bool, str]:
        ready = self.ready.is_set()
        return ready, "ok" if ready else "starting"
