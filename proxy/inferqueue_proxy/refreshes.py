"""Reading again how things stand: one reading for all requests that must know it."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class Refreshes:
    """Calls `refresh`, never twice at the same time, and at most once in `pause` seconds."""

    def __init__(self, refresh: Callable[[], Awaitable[None]], pause: float) -> None:
        self._refresh = refresh
        self._pause = pause
        self._began = float("-inf")
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    async def fresh(self) -> None:
        """Return when a refresh has ended that began after this call; raise what it raised.

        All who call before it begins share it. A caller that is cancelled takes nobody else along.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        await asyncio.shield(self._next)

    async def _run(self) -> None:
        async with self._lock:
            await asyncio.sleep(self._began + self._pause - time.monotonic())
            self._began, self._next = time.monotonic(), None
            await self._refresh()
