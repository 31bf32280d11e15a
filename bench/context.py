"""What every measure is given: the Redis, how often and how long to measure, and where progress is said."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis

from programs import BenchError, RedisServer


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: `runs` of each thing, `seconds` of load each, and so many jobs to lose."""

    runs: int
    seconds: float
    chaos_jobs: int


FULL = Extent(runs=5, seconds=3.0, chaos_jobs=20_000)
QUICK = Extent(runs=1, seconds=1.0, chaos_jobs=3_000)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the whole benchmark; it must be over at `deadline` of time.monotonic."""

    server: RedisServer
    extent: Extent
    say: Callable[[str], None]
    deadline: float

    @property
    def client(self) -> redis.Redis:
        return self.server.client

    def rounds(self, what: str) -> Iterator[int]:
        """Count the runs, saying each; raise BenchError when the time is over."""
        for number in range(self.extent.runs):
            if time.monotonic() > self.deadline:
                raise BenchError("the time for the whole benchmark is over")
            self.say(f"{what}, run {number + 1} of {self.extent.runs}")
            yield number
