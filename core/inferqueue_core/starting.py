"""What a program does before it imports the rest of itself."""

import os
import signal


def heed_sigterm() -> None:
    """Let SIGTERM end the program with 0 until it has a handler of its own.

    The first process of a container has no default action for signals: one that comes before there is a handler is
    lost, and a pod that is deleted while it starts would live on, and work, until it is killed.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
