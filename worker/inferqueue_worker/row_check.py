"""Why an answer beside others differs from the one alone: the neighbours, the number of rows, or rounding."""

import enum
from collections.abc import Callable, Collection, Mapping

import numpy as np
from msgspec import Struct

from inferqueue_core.datatypes import Array
from inferqueue_worker.batching import check_rows
from inferqueue_worker.comparison import LOOSE, ROUNDING, TIGHT, differing_output, either
from inferqueue_worker.errors import PredictionError, RunStoppedError, TransientError, TrialTimeoutError
from inferqueue_worker.predictor import Output

Run = Callable[[Mapping[str, Array]], dict[str, Output]]


class Cause(enum.Enum):
    """Why rows give something else beside others, in words that follow `output 'y'`."""

    SHAPE = "of a row has another shape beside others"
    NEIGHBOURS = "of a row depends on the rows beside it"
    COUNT = "of a row depends on how many rows run with it"
    ROUNDING = "of a row jumps where it is rounded"


class Difference(Struct, frozen=True):
    """An output that differs, and why."""

    output: str
    cause: Cause

    def __str__(self) -> str:
        return f"output {self.output!r} {self.cause.value}"


class Place(Struct, frozen=True):
    """Rows `start` to `end` of a run of `total` rows."""

    start: int
    end: int
    total: int

    @property
    def rows(self) -> int:
        return self.end - self.start


def part(outputs: Mapping[str, Output], place: Place, constants: Collection[str]) -> dict[str, Output]:
    """Give the outputs of the rows at a place; constants are whole."""
    return {
        name: value if name in constants or isinstance(value, dict) else value[place.start : place.end]
        for name, value in outputs.items()
    }


def find_difference(
    run: Run,
    inputs: Mapping[str, Array],
    place: Place,
    beside: Mapping[str, Output],
    alone: Mapping[str, Output],
    constants: Collection[str],
) -> Difference | None:
    """Compare what rows gave at a place of a run with what they give alone; None when that is the same.

    A difference is looked into, with runs of copies of the same rows. Copies at the same place that give something
    else: it was the neighbours. Copies that give the same bits: it was the number of rows, which chooses the way of a
    matrix product and so the rounding. Rounding is small; or it tips a value over an edge, and then every number of
    rows falls on one of two sides.
    """
    name = differing_output(beside, alone, LOOSE)
    if name is None:
        return None
    if _shape(beside[name]) != _shape(alone[name]):
        return Difference(name, Cause.SHAPE)
    copies = _copies(run, inputs, place, constants)
    if copies is None or differing_output(copies, beside, TIGHT) is not None:
        return Difference(name, Cause.NEIGHBOURS)
    name = differing_output(copies, alone, ROUNDING)
    if name is None:
        return None
    others = 3 if place.total == 2 * place.rows else 2
    fewer = _copies(run, inputs, Place(0, place.rows, others * place.rows), constants)
    if fewer is None or not all(either(fewer[key], alone[key], beside[key], ROUNDING) for key in alone):
        return Difference(name, Cause.COUNT)
    return Difference(name, Cause.ROUNDING)


def _copies(run: Run, inputs: Mapping[str, Array], place: Place, constants: Collection[str]) -> dict[str, Output] | None:
    """Run rows beside nothing but themselves; None when the model refuses that."""
    try:
        outputs = run(crowd(inputs, place))
        check_rows(outputs, place.total, constants)
    except (TransientError, RunStoppedError, TrialTimeoutError):
        raise
    except PredictionError:
        return None
    return part(outputs, place, constants)


def crowd(inputs: Mapping[str, Array], place: Place) -> dict[str, Array]:
    """Fill a run with copies of the same rows, so that they stand whole at their place."""
    indices = (np.arange(place.total) - place.start) % max(place.rows, 1)
    return {name: array[indices] for name, array in inputs.items()}


def _shape(value: Output) -> tuple[int, ...] | None:
    return value.shape if isinstance(value, np.ndarray) else None
