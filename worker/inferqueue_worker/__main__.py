"""Where the program begins: `inferqueue-worker`, `python -m inferqueue_worker`."""

import os
import signal


def start() -> None:
    """Run the program; SIGTERM ends it already while the rest of it is being imported.

    The first process of a container has no default action for signals: one that comes before there is a handler is
    lost, and a pod that is deleted while it starts would live on, and work, until it is killed.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from inferqueue_worker.main import main

    main()


if __name__ == "__main__":
    start()
