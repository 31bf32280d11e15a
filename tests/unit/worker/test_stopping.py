"""Signals end the process: at once while it starts, in order when it serves, and by force when it does not end."""

import subprocess
import sys

import pytest

from inferqueue_worker.stopping import UNENDED

BEGIN = """
import signal, threading, time
from inferqueue_worker.stopping import end_on_signals
ending = end_on_signals()
stop = ending.stop
"""
SERVING = "ending.take_time(30, lambda: None)\n"


def run(code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", BEGIN + code], timeout=60, check=False, capture_output=True)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_that_comes_inside_of_wait_sets_the_event(number: str) -> None:
    inside_of_wait = f"with stop._cond: signal.raise_signal(signal.{number})"
    assert run(f"{SERVING}{inside_of_wait}\nraise SystemExit(4 if stop.wait(30) else 5)").returncode == 4


def test_a_signal_that_others_handle_does_not_set_it() -> None:
    others = "signal.signal(signal.SIGUSR1, lambda *_: None)\nsignal.raise_signal(signal.SIGUSR1)"
    assert run(f"{SERVING}{others}\nraise SystemExit(5 if stop.wait(0.2) else 4)").returncode == 4


def test_it_is_not_set_without_a_signal() -> None:
    assert run("raise SystemExit(5 if stop.is_set() else 4)").returncode == 4


@pytest.mark.parametrize("stuck", ["threading.Event().wait()", "while True: pass"])
def test_a_start_that_hangs_ends_at_once_with_0(stuck: str) -> None:
    assert run(f"signal.raise_signal(signal.SIGTERM)\n{stuck}").returncode == 0


@pytest.mark.parametrize("stuck", ["threading.Event().wait()", "while True: pass"])
def test_what_does_not_end_in_time_is_ended_by_force_after_its_last_words(stuck: str) -> None:
    words = "ending.take_time(0.1, lambda: print('given back', flush=True))\n"
    done = run(f"{words}signal.raise_signal(signal.SIGTERM)\n{stuck}")
    assert (done.returncode, done.stdout) == (UNENDED, b"given back\n")
    assert b"the process ends by force" in done.stderr


def test_last_words_that_never_end_are_cut_off() -> None:
    words = "ending.take_time(0.1, threading.Event().wait)\n"
    assert run(f"{words}signal.raise_signal(signal.SIGTERM)\nthreading.Event().wait()").returncode == UNENDED


def test_a_thread_that_a_predictor_left_behind_does_not_keep_the_process() -> None:
    behind = "threading.Thread(target=threading.Event().wait).start()\n"
    code = f"{behind}ending.take_time(0.1, lambda: None)\nsignal.raise_signal(signal.SIGTERM)"
    assert run(code).returncode == UNENDED
