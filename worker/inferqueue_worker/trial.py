"""What a model is found to be when it is tried at load: whether its rows are independent, and how fast it is."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from inferqueue_worker.batching import check_rows
from inferqueue_worker.errors import BatchingError, PredictionError
from inferqueue_worker.predictor import ModelSignature, Output, Predictor, RunControl
from inferqueue_worker.repository import ModelConfig
from inferqueue_worker.samples import MOST_VALUES, Sample, repeated, samples

MOST_ROWS = 1024
# Inputs and outputs of one run; what the model needs in between comes on top.
MOST_BYTES = 33_554_432
LEAST_GAIN = 1.05
_RUNS = 6
_TIME_LIMIT_SECONDS = 5.0
_ENOUGH_SECONDS = 0.25
# Where rows cannot be batched, their time only tells how many jobs make a claim: from here on it is one.
_ENOUGH_SECONDS_ALONE = 0.05
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5


class Timing(Struct, frozen=True):
    """The shortest time of one run of `rows` rows, in seconds: whatever else the node does only makes a run longer."""

    rows: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


class Trial(Struct, frozen=True):
    """The findings: `batchable` with its reason, the timings by rows, and `max_rows`, the most rows worth a run."""

    batchable: bool
    reason: str
    timings: tuple[Timing, ...]
    max_rows: int

    @property
    def seconds_per_row(self) -> float | None:
        """The time a row takes at the best size; None when the model could not be tried."""
        return min((timing.seconds / timing.rows for timing in self.timings), default=None)


def try_model(predictor: Predictor, config: ModelConfig, clock: Callable[[], float] = time.perf_counter) -> Trial:
    """Run the model on samples: find one that it takes, prove or refute that it batches, learn how many rows pay."""
    signature = predictor.metadata()
    outputs = [spec.name for spec in signature.outputs]
    why_not = _why_not_batchable(signature)
    refusal = f"one row would hold more than {MOST_VALUES} values"
    for sample, other in samples(signature, config.sample):
        try:
            first = _run(predictor, sample, outputs)
        except PredictionError as error:
            refusal = str(error)
            continue
        reason = why_not or _why_rows_depend(predictor, sample, other, outputs)
        limit = 1 if reason else most_rows(config.max_rows or MOST_ROWS, [*sample.values(), *first.values()])
        timings = _measure_sample(predictor, sample, outputs, limit, clock)
        found = reason or "rows run together give what they give alone"
        return Trial(not reason, found, timings, best_rows(timings))
    made_up = "the sample in model.yaml does not fit it" if config.sample is not None else "no made-up input fits it"
    reason = why_not or f"{made_up} ({refusal}); give a `sample` that does in model.yaml"
    return Trial(False, reason, (), 1)


def most_rows(limit: int, values_of_one_row: Sequence[Output]) -> int:
    """Give how many rows may run together: at most `limit`, and not more than about 32 MiB of inputs and outputs."""
    row_bytes = sum(value.nbytes for value in values_of_one_row if isinstance(value, np.ndarray))
    return max(1, min(limit, MOST_BYTES // max(1, row_bytes)))


def _why_not_batchable(signature: ModelSignature) -> str:
    """Say what in the signature rules batches out; '' when nothing does."""
    if signature.batchable is False:
        return signature.why_not or "its predictor says so"
    if not signature.inputs:
        return "it has no inputs"
    for spec in signature.inputs:
        if spec.any_shape:
            return f"the model gives input {spec.name!r} no shape"
        if not spec.shape:
            return f"input {spec.name!r} is a scalar"
        if spec.shape[0] != -1:
            return f"axis 0 of input {spec.name!r} is fixed at {spec.shape[0]}"
    return ""


def _run(predictor: Predictor, inputs: Sample, outputs: Sequence[str]) -> dict[str, Output]:
    try:
        return predictor.predict(inputs, outputs, RunControl())
    except PredictionError:
        raise
    except Exception as error:  # a predictor of the user's own may raise anything
        raise PredictionError(f"{type(error).__name__}: {error}") from error


def _why_rows_depend(predictor: Predictor, sample: Sample, other: Sample, outputs: Sequence[str]) -> str:
    """Run two different rows alone and together; say how the results differ, '' when they do not."""
    try:
        first, second = _run(predictor, sample, outputs), _run(predictor, other, outputs)
    except PredictionError as error:
        return f"it refuses a second row that is made up ({error}); give a `sample` of two rows in model.yaml"
    try:
        joined = {name: np.concatenate([sample[name], other[name]]) for name in sample}
        both = _run(predictor, joined, outputs)
        for alone in (first, second):
            check_rows(alone, 1)
        check_rows(both, 2)
    except BatchingError as error:
        return str(error)
    except PredictionError as error:
        return f"two rows cannot run together: {error}"
    for name in outputs:
        for row, alone in enumerate((first, second)):
            if not _same(both[name], row, alone[name]):
                return f"output {name!r} of a row depends on the rows beside it"
    return ""


def _same(both: Output, row: int, alone: Output) -> bool:
    if isinstance(both, list) or isinstance(alone, list):
        return _close(list(both)[row], next(iter(alone)))
    assert isinstance(both, np.ndarray)
    assert isinstance(alone, np.ndarray)
    if both.shape[1:] != alone.shape[1:]:
        return False
    if both.dtype.kind == "f":
        return bool(np.allclose(both[row], alone[0], rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True))
    return bool(np.array_equal(both[row], alone[0]))


def _close(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, (list, np.ndarray, float)) and not isinstance(other, (str, bytes)):
        try:
            return bool(np.allclose(one, other, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return bool(np.array_equal(np.asarray(one, dtype=object), np.asarray(other, dtype=object)))
    return bool(one == other)


def _measure_sample(
    predictor: Predictor, sample: Sample, outputs: Sequence[str], limit: int, clock: Callable[[], float]
) -> tuple[Timing, ...]:
    def run(rows: int) -> None:
        _run(predictor, repeated(sample, rows) if rows > 1 else sample, outputs)

    return measure(run, limit, clock)


def measure(run: Callable[[int], object], limit: int, clock: Callable[[], float]) -> tuple[Timing, ...]:
    """Time runs of 1, 2, 4, … rows up to `limit`, until two sizes in turn gain less than 5 %, or 5 s pass."""
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
        fruitless = 0 if timing.rows_per_second >= LEAST_GAIN * best else fruitless + 1
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
        if sum(seconds) > enough or clock() > until:
            break
    return min(seconds)


def best_rows(timings: Sequence[Timing]) -> int:
    """Give the size that gained at least 5 % in rows a second over every smaller one; 1 without timings."""
    best: Timing | None = None
    for timing in timings:
        if best is None or timing.rows_per_second >= LEAST_GAIN * best.rows_per_second:
            best = timing
    return 1 if best is None else best.rows
