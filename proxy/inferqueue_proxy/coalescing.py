"""Many small questions in one round trip: what is asked while a call is under way goes together in the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from inferqueue_core.errors import QueueError, QueueRefusedError

Q = TypeVar("Q")
A = TypeVar("A")


class Coalescer(Generic[Q, A]):
    """Asks `send` for many questions at once, with at most one call under way.

    A call takes questions up to a total weight of `limit`, but at least one. An answer is given only after `send` has
    returned it; a QueueError is given to everyone whose question was in the call. A refusal of the call, or any other
    failure, may be the fault of one question, so each is then asked alone. `send` must be safe to repeat.
    """

    def __init__(
        self, send: Callable[[list[Q]], Awaitable[list[A]]], limit: int, weight: Callable[[Q], int] = lambda _: 1
    ) -> None:
        self._send = send
        self._limit = limit
        self._weight = weight
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """Give the answer to one question; a caller that is cancelled takes nobody else along."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._sender is None:
            self._sender = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                if batch:
                    await self._answer(batch)
        finally:
            self._sender = None

    def _take(self) -> list[tuple[Q, asyncio.Future[A]]]:
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        total = 0
        while self._waiting:
            question, future = self._waiting[0]
            if not future.done():
                total += self._weight(question)
                if batch and total > self._limit:
                    break
                batch.append((question, future))
            self._waiting.popleft()
        return batch

    async def _answer(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._send([question for question, _ in batch])
        except Exception as error:  # of any kind: whoever asked must hear of it
            if len(batch) == 1 or (isinstance(error, QueueError) and not isinstance(error, QueueRefusedError)):
                for _, future in batch:
                    _fail(future, error)
                return
            for entry in batch:
                await self._answer([entry])
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


def _fail(future: asyncio.Future[A], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
