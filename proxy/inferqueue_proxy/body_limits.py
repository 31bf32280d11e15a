"""How much of its clients' bodies the proxy holds, and how much of them it reads at once.

A body takes memory while it comes, and many times that while it is read: JSON of 8 MiB may be 500 MiB of Python's
objects. So bodies may take no more than HELD_BODIES times MAX_BODY_BYTES together, and no more than MAX_BODY_BYTES are
read at once, the smallest body first. Beyond that those make room that have held most for longest, in bytes times
seconds: a large body that hangs, before a new one and before many small ones. A body that comes in one piece of a few
kilobytes is not counted.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inferqueue_proxy.problems import Problem

HELD_BODIES = 16
# So that the size counts from the beginning.
_LEAST_SECONDS = 0.1


class HeldBody:
    """One body, from its second piece until it is read."""

    def __init__(self, limits: "BodyLimits", began: float) -> None:
        self.began = began
        self.parts: list[bytes] = []
        self.size = 0
        self.reading = 0
        self.admission: asyncio.Future[None] | None = None
        self._limits = limits
        self._refusal: Problem | None = None

    def add(self, part: bytes) -> None:
        """Take a piece more; raise a Problem when the body has had to make room for others."""
        if self._refusal is None:
            self.parts.append(part)
            self.size += len(part)
            self._limits.grow(len(part))
        if self._refusal is not None:
            raise self._refusal

    async def turn(self, size: int) -> None:
        """Return when the body, which will have `size` bytes when it is decoded, may be read; or raise as `add`."""
        self.reading = size
        await self._limits.admit(self)

    def refuse(self, problem: Problem) -> None:
        """Let go of what has come, and refuse the request when it is looked at again."""
        self._refusal = problem
        self.parts.clear()
        self.size = 0
        if self.admission is not None and not self.admission.done():
            self.admission.set_exception(problem)


class BodyLimits:
    """All bodies that the proxy holds, each of at most `most` bytes."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._clock = clock
        self._held = 0
        self._read = 0
        self._coming: set[HeldBody] = set()
        self._waiting: set[HeldBody] = set()

    @contextmanager
    def hold(self) -> Iterator[HeldBody]:
        """Count a body that comes for as long as the block runs."""
        body = HeldBody(self, self._clock())
        self._coming.add(body)
        try:
            yield body
        finally:
            self._end(body)

    def grow(self, size: int) -> None:
        """Count `size` bytes more, and make room for them."""
        self._held += size
        while self._held > HELD_BODIES * self.most:
            self._let_go()

    async def admit(self, body: HeldBody) -> None:
        """Return when there is room to read a body that has come."""
        self._coming.discard(body)
        if self._has_room(body):
            self._read += body.reading
            return
        body.admission = asyncio.get_running_loop().create_future()
        self._waiting.add(body)
        await body.admission

    def _has_room(self, body: HeldBody) -> bool:
        return not self._read or self._read + body.reading <= self.most

    def _end(self, body: HeldBody) -> None:
        self._held -= body.size
        self._coming.discard(body)
        if body in self._waiting:
            self._waiting.remove(body)
            return
        self._read -= body.reading
        self._admit_next()

    def _admit_next(self) -> None:
        while self._waiting and self._has_room(body := min(self._waiting, key=lambda body: (body.reading, body.began))):
            self._waiting.remove(body)
            assert body.admission is not None, "who waits has an admission"
            if body.admission.done():  # its client was let go
                body.reading = 0
            else:
                self._read += body.reading
                body.admission.set_result(None)

    def _let_go(self) -> None:
        now = self._clock()
        body = max((*self._coming, *self._waiting), key=lambda body: body.size * (now - body.began + _LEAST_SECONDS))
        self._coming.discard(body)
        self._held -= body.size
        body.refuse(
            Problem(
                "too-many-bodies",
                f"bodies of {HELD_BODIES * self.most} bytes together, {HELD_BODIES} times MAX_BODY_BYTES, are being "
                "read, and this one has made room; retry in 1 s",
                headers={"Retry-After": "1", "Connection": "close"},
            )
        )
