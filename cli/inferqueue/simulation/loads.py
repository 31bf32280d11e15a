"""Loads: arrivals in time, each with the seconds of work that it brings. All are deterministic by seed."""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

HOUR = 3600.0
# What a simulation in one process can hold, and what the linear program solves within a minute or so.
MOST_ARRIVALS = 2_000_000
LONGEST_TRACE = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Load:
    """Jobs as (arrival time, service time) in seconds, in order of arrival."""

    name: str
    jobs: tuple[tuple[float, float], ...]

    @property
    def duration(self) -> float:
        return self.jobs[-1][0] if self.jobs else 0.0


Rate = Callable[[float], float]


def poisson(rate: Rate, peak: float, duration: float, random: Random) -> Iterator[float]:
    """Yield arrivals of an inhomogeneous Poisson process by thinning (Lewis and Shedler, 1979)."""
    now = 0.0
    while True:
        now += random.expovariate(peak)
        if now >= duration:
            return
        if random.random() * peak < rate(now):
            yield now


def burst(random: Random) -> Iterator[float]:
    """Return 1,000 jobs at once into a queue at rest."""
    return iter([0.0] * 1000)


def step(random: Random) -> Iterator[float]:
    """Return 2 jobs/s, then 20, then 2 again, 20 minutes each."""
    return poisson(lambda t: 20.0 if HOUR / 3 <= t < 2 * HOUR / 3 else 2.0, 20.0, HOUR, random)


def ramp(random: Random) -> Iterator[float]:
    """Return a rate that climbs from 1 to 30 jobs/s over half an hour and falls again."""
    return poisson(lambda t: 1 + 29 * (1 - abs(t / HOUR * 2 - 1)), 30.0, HOUR, random)


def diurnal(random: Random) -> Iterator[float]:
    """Return a day's wave pressed into an hour: 1 to 21 jobs/s."""
    return poisson(lambda t: 11 - 10 * math.cos(2 * math.pi * t / HOUR), 21.0, HOUR, random)


def bursty(random: Random) -> Iterator[float]:
    """Yield a Markov-modulated Poisson process: 0.5 jobs/s, and bursts of 30 jobs/s of 20 s, every 3 minutes."""
    switches: list[float] = [0.0]
    while switches[-1] < HOUR:
        quiet = len(switches) % 2 == 1
        switches.append(switches[-1] + random.expovariate(1 / 180 if quiet else 1 / 20))

    def rate(t: float) -> float:
        return 30.0 if sum(1 for switch in switches if switch <= t) % 2 == 0 else 0.5

    return poisson(rate, 30.0, HOUR, random)


def on_off(random: Random) -> Iterator[float]:
    """Return 5 minutes of 10 jobs/s, then 10 minutes of nothing, four times: longer than a usual cooldown."""
    return poisson(lambda t: 10.0 if t % 900 < 300 else 0.0, 10.0, HOUR, random)


def flash_crowd(random: Random) -> Iterator[float]:
    """Return 0.5 jobs/s that grow a hundredfold within a minute and die away over ten."""

    def rate(t: float) -> float:
        since = t - 900
        if since < 0:
            return 0.5
        return 0.5 + 49.5 * (since / 60 if since < 60 else math.exp(-(since - 60) / 200))

    return poisson(rate, 50.0, HOUR, random)


ARRIVALS: dict[str, Callable[[Random], Iterator[float]]] = {
    "burst": burst,
    "step": step,
    "ramp": ramp,
    "diurnal": diurnal,
    "bursty": bursty,
    "on-off": on_off,
    "flash-crowd": flash_crowd,
    "slow-jobs": step,
}
SMOOTH = frozenset({"step", "ramp", "diurnal", "on-off", "slow-jobs"})


def generate(name: str, service_seconds: float, seed: int) -> Load:
    """Make a load by name; service times vary by 10 %, and in `slow-jobs` every hundredth takes 20 times as long."""
    random = Random(f"{name} {seed}")
    times = list(ARRIVALS[name](random))
    slow = name == "slow-jobs"

    def service() -> float:
        factor = 20.0 if slow and random.random() < 0.01 else 1.0
        return service_seconds * factor * random.uniform(0.9, 1.1)

    return Load(name, tuple((time, service()) for time in times))


def read_arrivals(path: Path, service_seconds: float, seed: int) -> Load:
    """Read a trace: one arrival time in seconds a line, or `second,count`; a first line of words is a heading.

    Times count from the first arrival. Raises ValueError naming the line that is neither, or a trace that is too long.
    """
    random = Random(seed)
    times: list[float] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not any(cell.strip() for cell in row) or (number == 1 and _is_heading(row[0])):
                    continue
                times += _arrivals_of(row, path, number, random, MOST_ARRIVALS - len(times))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8: {error}") from None
    if not times:
        raise ValueError(f"{path} holds no arrivals; expected one time in seconds a line, or `second,count`")
    first, last = min(times), max(times)
    if last - first > LONGEST_TRACE:
        raise ValueError(
            f"{path} spans {last - first:.0f} s, and a simulation at most {LONGEST_TRACE:.0f} s; cut the trace, and "
            "see that its times are in seconds"
        )
    return Load(path.stem, tuple((t - first, service_seconds * random.uniform(0.9, 1.1)) for t in sorted(times)))


def _arrivals_of(row: Sequence[str], path: Path, number: int, random: Random, room: int) -> list[float]:
    """Return the arrivals of one line; in `second,count` they fall anywhere within that second."""
    try:
        second, *rest = (float(cell) for cell in row)
        count = rest[0] if rest else 1.0
        if len(rest) > 1 or not math.isfinite(second) or count < 0 or not count.is_integer():
            raise ValueError
    except ValueError:
        raise ValueError(f"{path}, line {number}: {','.join(row)!r} is neither a time nor `second,count`") from None
    if count > room:
        raise ValueError(f"{path}, line {number}: more than {MOST_ARRIVALS:,} arrivals, the most a simulation takes")
    return [second + random.random() for _ in range(int(count))] if rest else [second]


def _is_heading(text: str) -> bool:
    """Tell words from a number, and from what was meant to be one: 12s, 2026-01-01, 1;2."""
    try:
        float(text)
    except ValueError:
        return text.strip()[:1] not in {*"0123456789+-."}
    return False
