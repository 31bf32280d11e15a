"""Host names are looked up side by side."""

import asyncio
import socket
import threading
from collections import Counter
from typing import Any

import pytest

from inferqueue_operator.lookups import PatientLoop

ADDRESS = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 6379))]


class NameServer:
    """Answers for all hosts but those that end in `.slow`, until it is told to."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answers = threading.Event()

    def look_up(self, host: str, *_: Any) -> Any:
        self.asked[host] += 1
        if host.endswith(".slow"):
            assert self.answers.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return ADDRESS


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.look_up)
    return server


def test_hosts_without_an_answer_delay_no_others(names: NameServer) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        waiting = [asyncio.create_task(loop.getaddrinfo(f"{number}.slow", 6379)) for number in range(50)]
        async with asyncio.timeout(10):
            assert await loop.getaddrinfo("redis", 6379) == ADDRESS
        names.answers.set()
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(answer, socket.gaierror)

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())


def test_who_gives_up_leaves_one_look_up_behind_not_many(names: NameServer) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.getaddrinfo("redis.slow", 6379), 0.01)
        assert names.asked["redis.slow"] == 1

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())
    names.answers.set()
