"""Who is let go first where there are too many, and what the files of a process allow."""

import asyncio
import resource
import subprocess
import sys

from inferqueue_proxy.connection_limits import ConnectionLimits, Owed
from inferqueue_proxy.problems import Problem
from inferqueue_proxy.settings import ProxySettings


class Client:
    """Owes what it was made with, since `age` seconds ago."""

    def __init__(self, owed: Owed, age: float, limits: ConnectionLimits) -> None:
        self._owed = owed
        self._since = asyncio.get_running_loop().time() - age
        self._limits = limits
        self.is_here = True
        limits.add(self)

    def owes(self, now: float) -> tuple[Owed, float]:
        return self._owed, self._since

    def let_go(self, problem: Problem) -> None:
        assert problem.kind == "too-many-connections"
        self.is_here = False
        self._limits.remove(self)


def _left_of(maximum: int, *clients: tuple[Owed, float]) -> list[bool]:
    """Connect these clients, and tell who is there when there are no more than the maximum."""

    async def run() -> list[bool]:
        enough = asyncio.Event()
        left = len(clients)

        def count(reason: str) -> None:
            nonlocal left
            assert reason == "limit"
            left -= 1
            if left == maximum:
                asyncio.get_running_loop().call_soon(enough.set)

        limits = ConnectionLimits(ProxySettings(max_connections=maximum), count)
        made = [Client(owed, age, limits) for owed, age in clients]
        async with asyncio.timeout(20):
            await enough.wait()
        limits.stop()
        return [client.is_here for client in made]

    return asyncio.run(run())


def test_who_is_furthest_behind_makes_room() -> None:
    assert _left_of(2, (Owed.HEAD, 1), (Owed.BODY, 3), (Owed.REQUEST, 2), (Owed.ANSWER, 0.5)) == [1, 0, 0, 1]


def test_whom_the_proxy_owes_an_answer_stays() -> None:
    assert _left_of(2, (Owed.NOTHING, 9), (Owed.NOTHING, 9), (Owed.HEAD, 1)) == [1, 1, 0]


def test_clients_between_requests_make_room_last() -> None:
    assert _left_of(1, (Owed.NEXT, 9), (Owed.HEAD, 1), (Owed.REQUEST, 1)) == [1, 0, 0]


def test_who_has_just_come_is_given_a_moment() -> None:
    assert _left_of(1, (Owed.REQUEST, 0), (Owed.HEAD, 1)) == [1, 0]


def test_the_soft_limit_of_files_is_raised_to_the_hard_one_and_bounds_the_connections() -> None:
    program = (
        "import asyncio, resource\n"
        "from inferqueue_proxy.connection_limits import ConnectionLimits\n"
        "from inferqueue_proxy.settings import ProxySettings\n"
        "async def run():\n"
        "    limits = ConnectionLimits(ProxySettings(max_connections=5000), print)\n"
        "    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], limits.maximum, limits.backlog)\n"
        "asyncio.run(run())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024)),  # no threads here
    )
    files, maximum, backlog = map(int, done.stdout.split())
    assert files == 1024
    assert maximum + 2 * backlog < files
    assert "MAX_CONNECTIONS" in done.stderr
