"""How fast a worker empties a queue, told from outside by what stands in Redis: the same clock for every contestant."""

import time
from collections.abc import Sequence

import redis

from programs import BenchError, Program, wait_until

_LOOK_SECONDS = 0.01
# Looking takes processor time from those who are measured, so it is done ever less often: after each hundredth of the
# time that has passed, which is also how wrong the end can be.
_LOOK_SHARE = 0.01
# More than any worker holds at once.
_AT_THE_END = 2000
_START_SECONDS = 60.0
_DRAIN_SECONDS = 120.0


def drain_seconds(client: redis.Redis, queue: str, results: Sequence[str], worker: Program) -> float:
    """Time a worker that has just been started, from the first job that it takes to the last result that it stores.

    All jobs wait in the list `queue` before; `results` are the keys of their results, oldest job first.
    """
    count = len(results)
    newest = results[-_AT_THE_END:]

    def has_begun() -> bool:
        worker.check()
        return client.llen(queue) < count

    def is_done() -> bool:
        # A look costs one key while the queue is drained, and a few more only when little can be missing.
        return bool(client.exists(results[-1])) and client.exists(*newest) == len(newest)

    wait_until(has_begun, _START_SECONDS, f"the first job taken from {queue}", _LOOK_SECONDS)
    start = time.perf_counter()
    while not is_done():
        seconds = time.perf_counter() - start
        if seconds > _DRAIN_SECONDS:
            raise BenchError(f"not within {_DRAIN_SECONDS:g} s: the last of {count} results of {queue}")
        time.sleep(max(0.001, seconds * _LOOK_SHARE))
    seconds = time.perf_counter() - start
    missing = count - client.exists(*results)
    if missing:
        raise BenchError(f"{missing} results of {queue} came after those of the last {len(newest)} jobs")
    return seconds
