"""How many clients may be connected, and how long each may keep the proxy waiting.

A client is behind while the proxy waits for it: for the head of a request, for the rest of a body, or for the taking of
an answer. Bodies and answers may be slow as long as they are steady: MIN_BYTES_PER_SECOND make up for the time. Who is
further behind than the settings allow is let go. Beyond MAX_CONNECTIONS those furthest behind are let go at once, so
that many half requests take no place from whole ones; only where that many requests are being answered, further ones
are refused.
"""

import asyncio
import errno
import logging
import math
import os
import resource
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from inferqueue_proxy.problems import Problem
from inferqueue_proxy.settings import ProxySettings

log = logging.getLogger(__name__)

MIN_BYTES_PER_SECOND = 500
SWEEP_SECONDS = 1.0
CHANCE_SECONDS = 0.25
"""How long a client has to bring its request before it may be let go for another one, with files to spare."""

HASTE_SECONDS = 0.02
"""How long it has when there are none."""

TELL_SECONDS = 10.0
"""There is at most one log line in this time about clients that were let go."""

MOST_CONNECTIONS = 10_000
MOST_FILES = 65_536
OWN_FILES = 128
"""Files beside those of clients: Redis, listeners, the log, and readers of metrics."""


class Owed(Enum):
    """What the proxy waits for: a first request, the rest of its head or body, the taking of its answer, the next one.

    NOTHING while it is the client that waits.
    """

    REQUEST = "request"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    NEXT = "next request"
    NOTHING = "nothing"


class Client(Protocol):
    """A connection."""

    def owes(self, now: float) -> tuple[Owed, float]:
        """Tell what the client owes at `now`, and since when, both by the loop's clock."""

    def let_go(self, problem: Problem) -> None:
        """End the connection, with this answer where one can still be given."""


class ConnectionLimits:
    """All connections, and the limits on them. `count` hears for what reason a client was let go or refused."""

    def __init__(self, settings: ProxySettings, count: Callable[[str], None]) -> None:
        files = raise_file_limit()
        self.backlog = max(16, min(2048, files // 8))
        most = max(
            16, min(MOST_CONNECTIONS, files - OWN_FILES - 2 * self.backlog)
        )  # one spare, and one accepted at once
        self.maximum = min(settings.max_connections or most, most)
        if settings.max_connections > most:
            log.warning(
                "MAX_CONNECTIONS is beyond what can be served; where files are short, raise `ulimit -n`",
                extra={"max_connections": settings.max_connections, "files": files, "maximum": most},
            )
        self._spare = self.backlog
        self._seconds = {
            Owed.REQUEST: settings.header_timeout,
            Owed.HEAD: settings.header_timeout,
            Owed.BODY: settings.body_timeout,
            Owed.ANSWER: settings.body_timeout,
            Owed.NEXT: settings.keep_alive_timeout,
            Owed.NOTHING: math.inf,
        }
        self._count = count
        self._clients: set[Client] = set()
        self._answering = 0
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._trim: asyncio.TimerHandle | None = None
        self._untold: Counter[str] = Counter()
        self._told_at = -math.inf
        self._out_of_files = False

    @property
    def connections(self) -> int:
        return len(self._clients)

    @property
    def is_full(self) -> bool:
        """Whether as many requests are being answered as there may be connections."""
        return self._answering >= self.maximum

    def add(self, client: Client) -> None:
        self._clients.add(client)
        beyond = len(self._clients) - self.maximum
        if beyond == self._spare + 1 or (beyond > 0 and self._trim is None):
            self._trim_in(HASTE_SECONDS if beyond > self._spare else CHANCE_SECONDS)

    def remove(self, client: Client) -> None:
        self._clients.discard(client)

    def begin_answer(self) -> None:
        self._answering += 1

    def end_answer(self) -> None:
        self._answering -= 1

    def refuse(self) -> Problem:
        """Return the refusal of one request too many, and count it."""
        self._note("limit")
        return Problem(
            "too-many-connections",
            f"{self.maximum} clients are connected, the limit (MAX_CONNECTIONS); retry in 1 s",
            headers={"Retry-After": "1", "Connection": "close"},
        )

    def start(self) -> None:
        """Look at all connections each second, until `stop`."""
        self._alarm = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def stop(self) -> None:
        for alarm in (self._alarm, self._trim):
            if alarm is not None:
                alarm.cancel()

    def _sweep(self) -> None:
        self.start()
        now = self._loop.time()
        for client in [*self._clients]:
            owed, since = client.owes(now)
            if now - since > self._seconds[owed]:
                if owed is not Owed.NEXT:
                    self._note(owed.value)
                client.let_go(_late(owed, self._seconds[owed]))
        self._look_at_files()
        self._tell(now)

    def _trim_in(self, seconds: float) -> None:
        if self._trim is not None:
            self._trim.cancel()
        self._trim = self._loop.call_later(seconds, self._make_room)

    def _make_room(self) -> None:
        """Let go of those furthest behind until there are no more than the maximum; of those between requests last."""
        self._trim = None
        now = self._loop.time()
        owing = [(client, *client.owes(now)) for client in self._clients]
        behind = [
            (owed is Owed.NEXT, since, client)
            for client, owed, since in owing
            if owed is not Owed.NOTHING and since < now - HASTE_SECONDS / 2
        ]
        behind.sort(key=lambda entry: entry[:2])
        beyond = len(self._clients) - self.maximum
        for place, (_, since, client) in enumerate(behind[: max(0, beyond)]):
            if now - since > CHANCE_SECONDS or place < beyond - self._spare:
                client.let_go(self.refuse())
                self._clients.discard(client)
        beyond = len(self._clients) - self.maximum
        if beyond > 0:
            self._trim_in(HASTE_SECONDS if beyond > self._spare else CHANCE_SECONDS)

    def _note(self, reason: str) -> None:
        self._untold[reason] += 1
        self._count(reason)

    def _look_at_files(self) -> None:
        """Say it when no file can be opened any more: connections are then cut off before anybody sees them."""
        try:
            os.close(os.dup(2))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and not self._out_of_files:
                log.error(
                    "no file can be opened any more, new connections are cut off; raise `ulimit -n`",
                    extra={"error": str(error), "connections": len(self._clients)},
                )
            self._out_of_files = True
        else:
            self._out_of_files = False

    def _tell(self, now: float) -> None:
        if self._untold and now - self._told_at >= TELL_SECONDS:
            log.warning(
                "clients were let go",
                extra={"connections": len(self._clients), "maximum": self.maximum, "reasons": dict(self._untold)},
            )
            self._untold.clear()
            self._told_at = now


def _late(owed: Owed, seconds: float) -> Problem:
    if owed is Owed.BODY:
        detail = f"for {seconds:g} s (BODY_TIMEOUT) fewer than {MIN_BYTES_PER_SECOND} bytes/s of the body have come"
    else:
        detail = f"the URL and headers have not come within {seconds:g} s (HEADER_TIMEOUT)"
    return Problem("request-timeout", f"{detail}; send it again", headers={"Connection": "close"})


def raise_file_limit() -> int:
    """Allow this process as many open files as its hard limit has, up to MOST_FILES; give how many it may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # macOS allows fewer than it says
            return soft
        return most
    return MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, MOST_FILES)
