"""Waiting for something to come true, instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T | None], timeout: float = 30.0, what: str = "", every: float | None = None
) -> T:
    """Return the first true value of `predicate`; fail after `timeout` seconds, saying what did not come.

    `every` is how many seconds pass between two looks. Without it they are a hundredth at first and more the longer it
    takes, up to a tenth: to look often takes processor time from what is waited for.
    """
    began = time.monotonic()
    while True:
        value = predicate()
        if value:
            return value
        waited = time.monotonic() - began
        if waited >= timeout:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate}")
        time.sleep(min(0.1, 0.01 + waited / 20) if every is None else every)
