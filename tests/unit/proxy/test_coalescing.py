import asyncio

import pytest

from inferqueue_core.errors import QueueRefusedError, QueueUnavailableError
from inferqueue_proxy.coalescing import Coalescer


class Echo:
    """Answers each question with itself, and notes who came together; `release` lets a call through."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.called = asyncio.Event()
        self.release = asyncio.Event()
        self.failure: Exception | None = None

    async def send(self, questions: list[int]) -> list[int]:
        self.calls.append(questions)
        self.called.set()
        await self.release.wait()
        if self.failure is not None and (isinstance(self.failure, QueueUnavailableError) or 13 in questions):
            raise self.failure
        return questions


def test_what_is_asked_during_a_call_goes_together_in_the_next() -> None:
    async def run() -> None:
        echo = Echo()
        coalescer = Coalescer(echo.send, limit=3)
        first = asyncio.create_task(coalescer.ask(0))
        await echo.called.wait()
        rest = [asyncio.create_task(coalescer.ask(n)) for n in range(1, 6)]
        await asyncio.sleep(0)
        echo.release.set()
        assert await asyncio.gather(first, *rest) == [0, 1, 2, 3, 4, 5]
        assert echo.calls == [[0], [1, 2, 3], [4, 5]]

    asyncio.run(run())


def test_a_call_takes_at_least_one_question_however_heavy() -> None:
    async def run() -> None:
        echo = Echo()
        echo.release.set()
        coalescer = Coalescer(echo.send, limit=10, weight=lambda n: n)
        assert await asyncio.gather(*(coalescer.ask(n) for n in (99, 5, 5, 6))) == [99, 5, 5, 6]
        assert echo.calls == [[99], [5, 5], [6]]

    asyncio.run(run())


def test_an_outage_is_told_to_everybody_in_the_call() -> None:
    async def run() -> None:
        echo = Echo()
        echo.failure = QueueUnavailableError("away")
        echo.release.set()
        coalescer = Coalescer(echo.send, limit=10)
        answers = await asyncio.gather(*(coalescer.ask(n) for n in range(3)), return_exceptions=True)
        assert all(isinstance(answer, QueueUnavailableError) for answer in answers)
        assert len(echo.calls) == 1
        echo.failure = None
        assert await coalescer.ask(7) == 7

    asyncio.run(run())


@pytest.mark.parametrize("failure", [ValueError("unlucky"), QueueRefusedError("too large")])
def test_a_question_at_fault_fails_alone(failure: Exception) -> None:
    async def run() -> None:
        echo = Echo()
        echo.failure = failure
        echo.release.set()
        coalescer = Coalescer(echo.send, limit=10)
        answers = await asyncio.gather(*(coalescer.ask(n) for n in (1, 13, 2)), return_exceptions=True)
        assert answers[0] == 1
        assert answers[1] is failure
        assert answers[2] == 2

    asyncio.run(run())


def test_who_is_canceled_takes_nobody_along() -> None:
    async def run() -> None:
        echo = Echo()
        coalescer = Coalescer(echo.send, limit=10)
        tasks = [asyncio.create_task(coalescer.ask(n)) for n in range(2)]
        await echo.called.wait()
        waiting = [asyncio.create_task(coalescer.ask(n)) for n in (5, 6)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        waiting[0].cancel()
        echo.release.set()
        assert await tasks[1] == 1
        assert await waiting[1] == 6
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert echo.calls == [[0, 1], [6]]

    asyncio.run(run())
