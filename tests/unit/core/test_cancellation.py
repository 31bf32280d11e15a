"""Tasks end even when they lose a cancellation, and not for ever."""

import asyncio
import contextlib

import pytest

from inferqueue_core import cancellation
from inferqueue_core.cancellation import end_tasks


async def _lose(cancellations: int) -> None:
    for _ in range(cancellations):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def _started(cancellations: int) -> asyncio.Task[None]:
    task = asyncio.create_task(_lose(cancellations))
    await asyncio.sleep(0)
    return task


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "_AGAIN_SECONDS", 0.01)


def test_a_lost_cancellation_is_repeated() -> None:
    async def run() -> None:
        tasks = [await _started(lost) for lost in (0, 1, 3)]
        await end_tasks(tasks)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(run())


def test_nobody_waits_longer_than_asked_for_a_task_that_will_not_end() -> None:
    async def run() -> None:
        task = await _started(1000)
        await end_tasks([task], 0.05)
        assert not task.done()
        await end_tasks([await _started(0)], 0.05)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)

    asyncio.run(run())


def test_tasks_that_have_ended_are_left_alone() -> None:
    async def run() -> None:
        async def fail() -> None:
            raise ValueError

        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        await end_tasks([task])
        assert isinstance(task.exception(), ValueError)

    asyncio.run(run())
