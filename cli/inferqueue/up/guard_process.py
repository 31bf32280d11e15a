"""Ends the programs of an `inferqueue up` that was killed: run by its path, on the standard library alone.

It reads lines `+ <process group> <stage>` and `- <process group> <stage>` from a pipe that closes when `up` ends,
however that happens. What is on the list then gets SIGTERM, and SIGKILL when it has not ended in time; stage after
stage, so that workers can still hand their jobs back to Redis.
"""

import os
import signal
import sys
import time

GRACE_SECONDS = 5.0


def is_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of zombies
        return False
    return True


def send(groups: list[int], number: signal.Signals) -> None:
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            continue


def end(groups: list[int]) -> None:
    send(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(map(is_running, groups)) and time.monotonic() < deadline:
        time.sleep(0.02)
    send(groups, signal.SIGKILL)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stages: dict[int, int] = {}
    for line in sys.stdin:
        sign, group, stage = line.split()
        if sign == "+":
            stages[int(group)] = int(stage)
        else:
            stages.pop(int(group), None)
    for stage_number in sorted(set(stages.values())):
        end([group for group, stage in stages.items() if stage == stage_number])


if __name__ == "__main__":
    main()
