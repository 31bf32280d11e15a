"""What a program does before it imports the rest of itself."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


def heed_sigterm() -> None:
    """Let SIGTERM end the program with 0 until it has a handler of its own.

    The first process of a container has no default action for signals: one that comes before there is a handler is
    lost, and a pod that is deleted while it starts would live on, and work, until it is killed.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


@contextmanager
def importing() -> Iterator[None]:
    """Import the rest of a program without garbage collection.

    What modules make stays: looking through it again and again took a tenth of a start's processor time, and would take
    its share of every later collection.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
