"""How long runs of a model take by their rows, and how many rows are worth a run."""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from inferqueue_worker.errors import PredictionError
from inferqueue_worker.predictor import Output

# Inputs and outputs of one run; what the model needs in between comes on top.
MOST_BYTES = 33_554_432
LEAST_GAIN = 1.05
_RUNS = 6
# The shortest time of so many runs is believed when another one of them took as long, but for this share.
_FEW_RUNS = 3
_AS_LONG = 1.02
_TIME_LIMIT_SECONDS = 5.0
_ENOUGH_SECONDS = 0.2
# Where rows cannot be batched, their time only tells how many jobs make a claim: from here on it is one.
_ENOUGH_SECONDS_ALONE = 0.05
# Where a run takes so long, one size without gain ends the growth: a second one would cost as much as all before.
_LONG_RUN_SECONDS = 0.1


class Timing(Struct, frozen=True):
    """The shortest time of one run of `rows` rows, in seconds: whatever else the node does only makes a run longer."""

    rows: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


def most_rows(limit: int, values_of_one_row: Sequence[Output]) -> int:
    """Give how many rows may run together: at most `limit`, and not more than about 32 MiB of inputs and outputs."""
    row_bytes = sum(value.nbytes for value in values_of_one_row if isinstance(value, np.ndarray))
    return max(1, min(limit, MOST_BYTES // max(1, row_bytes)))


def measure(run: Callable[[int], object], limit: int, clock: Callable[[], float]) -> tuple[Timing, ...]:
    """Time runs of 1, 2, 4, … rows up to `limit`, until two sizes in turn gain less than 5 %, or 5 s pass.

    A single such size is enough where its runs are long.
    """
    until = clock() + _TIME_LIMIT_SECONDS
    enough = _ENOUGH_SECONDS if limit > 1 else _ENOUGH_SECONDS_ALONE
    timings: list[Timing] = []
    best, rows, fruitless = 0.0, 1, 0
    while rows <= limit and fruitless < 2 and clock() < until:
        try:
            timing = Timing(rows, _shortest_seconds(run, rows, clock, enough, until))
        except PredictionError:
            break
        timings.append(timing)
        if timing.rows_per_second >= LEAST_GAIN * best:
            fruitless = 0
        else:
            fruitless += 2 if timing.seconds > _LONG_RUN_SECONDS else 1
        best = max(best, timing.rows_per_second)
        rows *= 2
    return tuple(timings)


def _shortest_seconds(
    run: Callable[[int], object], rows: int, clock: Callable[[], float], enough: float, until: float
) -> float:
    seconds: list[float] = []
    for _ in range(_RUNS):
        start = clock()
        run(rows)
        seconds.append(max(clock() - start, 1e-7))
        # A slow model needs few runs: what disturbs one is short beside it, and pods must start soon.
        if sum(seconds) > enough or clock() > until or _agree(seconds):
            break
    return min(seconds)


def _agree(seconds: Sequence[float]) -> bool:
    shortest, *others = sorted(seconds)
    return len(seconds) >= _FEW_RUNS and others[0] <= _AS_LONG * shortest


def best_rows(timings: Sequence[Timing]) -> int:
    """Give the size that gained at least 5 % in rows a second over every smaller one; 1 without timings."""
    best: Timing | None = None
    for timing in timings:
        if best is None or timing.rows_per_second >= LEAST_GAIN * best.rows_per_second:
            best = timing
    return 1 if best is None else best.rows
