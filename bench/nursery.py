"""Starts workers fast: imports what a worker imports once and forks; each child then runs the worker's own `main`.

Reads one JSON list of the worker's arguments a line, answers with the child's process id. At the end of its input it
kills the children that are left.
"""

import json
import os
import signal
import sys

import inferqueue_worker.main


def main() -> None:
    children: set[int] = set()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _work(json.loads(line))
        children.add(child)
        print(child, flush=True)
        children.difference_update(_ended())
    for child in children - _ended():
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _work(arguments: list[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDWR), sys.stdin.fileno())
    code: object = 1
    try:
        inferqueue_worker.main.main(arguments)
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        os._exit(code if isinstance(code, int) else 1)


def _ended() -> set[int]:
    """Bury the children that have ended and name them."""
    ended: set[int] = set()
    while True:
        try:
            child, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if child == 0:
            return ended
        ended.add(child)


if __name__ == "__main__":
    main()
