"""Who shares a refresh with whom, and how often there is one."""

import asyncio
import time

import pytest

from inferqueue_core.errors import QueueUnavailableError
from inferqueue_proxy.refreshes import Refreshes


class Source:
    """Counts the refreshes, each of which lasts until it is let `go`."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.running = 0
        self.most = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def refresh(self) -> None:
        self.began.append(time.monotonic())
        self.begun.set()
        self.running += 1
        self.most = max(self.most, self.running)
        await self.go.wait()
        self.running -= 1


def test_who_asks_before_a_refresh_begins_shares_it_and_who_asks_during_it_the_next() -> None:
    async def scenario() -> None:
        source = Source()
        refreshes = Refreshes(source.refresh, 0)
        early = [asyncio.create_task(refreshes.fresh()) for _ in range(50)]
        await source.begun.wait()
        late = [asyncio.create_task(refreshes.fresh()) for _ in range(50)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in early + late)
        source.go.set()
        await asyncio.gather(*early, *late)
        assert (len(source.began), source.most) == (2, 1)

    asyncio.run(scenario())


def test_two_refreshes_begin_no_closer_together_than_the_pause() -> None:
    async def scenario() -> None:
        source = Source()
        source.go.set()
        refreshes = Refreshes(source.refresh, 0.05)
        for _ in range(4):
            await refreshes.fresh()
        pauses = [after - before for before, after in zip(source.began, source.began[1:], strict=False)]
        assert len(pauses) == 3
        assert min(pauses) >= 0.049

    asyncio.run(scenario())


def test_a_failure_is_told_to_all_who_share_it_and_to_nobody_after() -> None:
    async def scenario() -> None:
        failing = True

        async def refresh() -> None:
            if failing:
                raise QueueUnavailableError("Redis is away")

        refreshes = Refreshes(refresh, 0)
        told = await asyncio.gather(*(refreshes.fresh() for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in told] == ["Redis is away"] * 3
        failing = False
        await refreshes.fresh()

    asyncio.run(scenario())


def test_a_caller_that_leaves_takes_nobody_along() -> None:
    async def scenario() -> None:
        source = Source()
        refreshes = Refreshes(source.refresh, 0)
        leaves, stays = (asyncio.create_task(refreshes.fresh()) for _ in range(2))
        await source.begun.wait()
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        source.go.set()
        await stays
        assert len(source.began) == 1

    asyncio.run(scenario())
