"""The end of tasks that may lose a cancellation."""

import asyncio
from collections.abc import Iterable

# Longer than what a task has to put in order takes: a second cancellation would cut that short.
_AGAIN_SECONDS = 0.5


async def end_tasks(tasks: Iterable[asyncio.Task[None]], timeout: float | None = None) -> None:
    """Cancel tasks until they have ended, for `timeout` seconds at most.

    Before Python 3.12 `asyncio.wait_for` swallows a cancellation that comes when what it waits for is done already, and
    redis-py sends every command within one: of the cancellations of a task that does nothing but send commands, half
    are lost.
    """
    pending = {task for task in tasks if not task.done()}
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    while pending:
        for task in pending:
            task.cancel()
        left = _AGAIN_SECONDS if deadline is None else min(_AGAIN_SECONDS, deadline - loop.time())
        if left <= 0:
            return
        _, pending = await asyncio.wait(pending, timeout=left)
