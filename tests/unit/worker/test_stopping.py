"""Signals set the event, whatever the main thread is doing."""

import subprocess
import sys

import pytest

BEGIN = "import signal\nfrom inferqueue_worker.stopping import stop_event\nstop = stop_event()\n"


def run(code: str) -> int:
    return subprocess.run([sys.executable, "-c", BEGIN + code], timeout=60, check=False).returncode


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_that_comes_inside_of_wait_sets_the_event(number: str) -> None:
    inside_of_wait = f"with stop._cond: signal.raise_signal(signal.{number})"
    assert run(f"{inside_of_wait}\nraise SystemExit(0 if stop.wait(30) else 3)") == 0


def test_a_signal_that_others_handle_does_not_set_it() -> None:
    others = "signal.signal(signal.SIGUSR1, lambda *_: None)\nsignal.raise_signal(signal.SIGUSR1)"
    assert run(f"{others}\nraise SystemExit(3 if stop.wait(0.2) else 0)") == 0


def test_it_is_not_set_without_a_signal() -> None:
    assert run("raise SystemExit(3 if stop.is_set() else 0)") == 0
