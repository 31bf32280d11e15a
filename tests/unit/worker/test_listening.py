"""The port is taken before the program is imported, where the environment says plainly which one."""

import os
import subprocess
import sys

import pytest

from inferqueue_worker.listening import handed_over, listen, listen_early


def test_it_listens_where_the_environment_says() -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    early = listen_early({"HOST": "127.0.0.1", "METRICS_PORT": str(port)})
    assert early is not None
    with early:
        assert early.getsockname() == ("127.0.0.1", port)


@pytest.mark.parametrize("port", ["http", "70000", "-1"])
def test_what_is_no_port_is_left_to_the_settings(port: str) -> None:
    assert listen_early({"HOST": "127.0.0.1", "METRICS_PORT": port}) is None


def test_a_port_that_is_taken_is_left_to_the_settings() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert listen_early({"HOST": "127.0.0.1", "METRICS_PORT": str(port)}) is None


@pytest.mark.parametrize(("arguments", "early"), [((), True), (("check", "iris"), False)])
def test_the_program_listens_before_it_is_imported(arguments: tuple[str, ...], early: bool) -> None:
    code = """
import sys, types
from inferqueue_worker.__main__ import start
instead = types.ModuleType("inferqueue_worker.main")
instead.main = lambda listener: sys.exit(7 if listener else 8)
sys.modules["inferqueue_worker.main"] = instead
start()
"""
    environment = {"HOST": "127.0.0.1", "METRICS_PORT": "0"}
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, timeout=60, check=False)
    assert done.returncode == (7 if early else 8)


def test_a_socket_outlives_the_program_that_becomes_another() -> None:
    become_another = """
import os, sys
from inferqueue_worker.listening import hand_over, listen
listener = listen("127.0.0.1", 0)
os.environ.update(hand_over(listener))
code = "import os; from inferqueue_worker.listening import handed_over; print(handed_over(os.environ).getsockname())"
print(listener.getsockname(), flush=True)
os.execv(sys.executable, [sys.executable, "-c", code])
"""
    done = subprocess.run([sys.executable, "-c", become_another], capture_output=True, timeout=60, check=True)
    before, after = done.stdout.splitlines()
    assert before == after


@pytest.mark.parametrize(
    "environment", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid())}]
)
def test_a_socket_for_another_process_is_not_taken(environment: dict[str, str]) -> None:
    assert handed_over(environment) is None
