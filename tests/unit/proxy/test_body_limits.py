"""Bodies take no more memory together than they may, and the one that holds up the proxy most makes room first."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from inferqueue_proxy.body_limits import HELD_BODIES, BodyLimits, HeldBody
from inferqueue_proxy.problems import Problem

MOST = 1000


class Client:
    """Sends a body of some pieces, and reads it for as long as it is not told to end."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._end = asyncio.Event()
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())
        self.is_read = False
        self.held: HeldBody | None = None

    async def send(self, size: int, *, last: bool = False) -> None:
        self._pieces.put_nowait(bytes(size))
        if last:
            self._pieces.put_nowait(b"")
        await _settle()

    async def end(self) -> None:
        self._end.set()
        await self._task

    @property
    def refusal(self) -> BaseException | None:
        return self._task.exception() if self._task.done() else None

    async def cancel(self) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        with self._limits.hold() as self.held:
            while piece := await self._pieces.get():
                self.held.add(piece)
            await self.held.turn(self.held.size)
            self.is_read = True
            await self._end.wait()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


Scenario = Callable[[BodyLimits, Clock], Coroutine[None, None, None]]


def scenario(run: Scenario) -> None:
    clock = Clock()
    asyncio.run(run(BodyLimits(MOST, clock), clock))


def test_a_large_body_that_hangs_makes_room_for_a_new_one_and_small_ones_that_hang_do_not() -> None:
    async def run(limits: BodyLimits, clock: Clock) -> None:
        small = [Client(limits) for _ in range(20)]
        for client in small:
            await client.send(5)
        clock.now = 10.0
        hanging = []
        for _ in range(HELD_BODIES):
            clock.now += 1.0
            hanging.append(Client(limits))
            await hanging[-1].send(MOST - 10)
        new = Client(limits)
        await new.send(MOST, last=True)
        assert new.is_read
        first, second = hanging[:2]
        assert first.held is not None
        assert (first.held.parts, first.held.size) == ([], 0)
        await first.send(1)
        assert isinstance(first.refusal, Problem)
        assert (first.refusal.kind, first.refusal.status) == ("too-many-bodies", 503)
        assert first.refusal.headers == {"Retry-After": "1", "Connection": "close"}
        for client in (second, *small):
            await client.send(1)
            assert client.refusal is None

    scenario(run)


def test_of_those_that_wait_for_their_turn_the_largest_makes_room() -> None:
    async def run(limits: BodyLimits, clock: Clock) -> None:
        large = [Client(limits) for _ in range(HELD_BODIES)]
        for number, client in enumerate(large):
            await client.send(MOST - number, last=True)
        small = [Client(limits) for _ in range(20)]
        for client in small:
            await client.send(MOST // 20, last=True)
        assert large[0].is_read
        refused = [client for client in large if client.refusal is not None]
        assert refused == large[1 : 1 + len(refused)] != []
        assert all(client.refusal is None for client in small)

    scenario(run)


def test_no_more_is_read_at_once_than_one_body_may_have_and_the_smallest_first() -> None:
    async def run(limits: BodyLimits, clock: Clock) -> None:
        clients = [Client(limits) for _ in range(5)]
        for client, size in zip(clients, (600, 700, 500, 200, 300), strict=True):
            await client.send(size, last=True)
        assert [client.is_read for client in clients] == [True, False, False, True, False]
        await clients[0].end()
        await _settle()
        assert [client.is_read for client in clients] == [True, False, True, True, True]
        for number in (2, 3, 4):
            await clients[number].end()
        await _settle()
        assert clients[1].is_read

    scenario(run)


def test_of_bodies_of_one_size_the_one_that_began_first_is_read_first() -> None:
    async def run(limits: BodyLimits, clock: Clock) -> None:
        clients = []
        for _ in range(10):
            clock.now += 1.0
            clients.append(Client(limits))
            await clients[-1].send(MOST, last=True)
        for number, client in enumerate(clients):
            assert [other.is_read for other in clients] == [other <= number for other in range(10)]
            await client.end()
            await _settle()

    scenario(run)


def test_who_leaves_while_he_waits_takes_no_turn() -> None:
    async def run(limits: BodyLimits, clock: Clock) -> None:
        reading, leaving, waiting = (Client(limits) for _ in range(3))
        for client in (reading, leaving, waiting):
            await client.send(MOST, last=True)
        await leaving.cancel()
        await reading.end()
        await _settle()
        assert waiting.is_read
        await waiting.end()
        again = Client(limits)
        await again.send(MOST, last=True)
        assert again.is_read

    scenario(run)


def test_what_has_ended_leaves_its_room() -> None:
    async def run(limits: BodyLimits, clock: Clock) -> None:
        for _ in range(3 * HELD_BODIES):
            client = Client(limits)
            await client.send(MOST, last=True)
            assert client.is_read
            await client.end()
        half = [Client(limits) for _ in range(HELD_BODIES)]
        for client in half:
            await client.send(MOST)
        assert all(client.refusal is None for client in half)

    scenario(run)
