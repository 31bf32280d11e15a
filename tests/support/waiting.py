"""Waiting for something to come true, instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T | None], timeout: float = 30.0, what: str = "", every: float = 0.01) -> T:
    """Return the first true value of `predicate`; fail after `timeout` seconds, saying what did not come.

    `every` is how many seconds pass between two looks: more where looking is not free.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate}")
        time.sleep(every)
