"""The program that every producer is: jobs put into a queue one by one, each accepted before the next is sent.

python -m MODULE COUNT FILE     writes the Redis keys of the results into FILE, prints the seconds taken
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

FLOWER = [[5.1, 3.5, 1.4, 0.2]]


def main(submit: Callable[[list[list[float]]], str]) -> None:
    """Enqueue with `submit`, which gives the key of the job's result; the first job, which connects, is not timed."""
    count, file = int(sys.argv[1]), Path(sys.argv[2])
    keys = [submit(FLOWER)]
    start = time.perf_counter()
    keys += [submit(FLOWER) for _ in range(count - 1)]
    seconds = (time.perf_counter() - start) * count / max(1, count - 1)
    file.write_text("\n".join(keys))
    print(seconds)
