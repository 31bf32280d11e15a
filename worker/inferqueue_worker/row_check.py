"""Why an answer beside others differs from the one alone: the neighbours, the number of rows, or rounding."""

import enum
from collections.abc import Callable, Collection, Iterator, Mapping
from random import Random

import numpy as np
from msgspec import Struct

from inferqueue_core.datatypes import Array
from inferqueue_worker.batching import check_rows
from inferqueue_worker.comparison import LOOSE, ROUNDING, TIGHT, differing_output, either
from inferqueue_worker.errors import PredictionError, RunStoppedError, TransientError, TrialTimeoutError
from inferqueue_worker.predictor import Output

# What many layers make of the last bits of their sums.
_HAIR = 1e-5
_NUDGES = 4

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
    else: it was the neighbours. Copies that give the same bits: it was the number of rows, or the place. Those choose
    the way of a matrix product and so the rounding, which is small, or tips a value over an edge.
    """
    name = differing_output(beside, alone, LOOSE)
    if name is None:
        return None
    if _shape(beside[name]) != _shape(alone[name]):
        return Difference(name, Cause.SHAPE)
    copies = _run_copies(run, inputs, place, constants)
    if copies is None or differing_output(part(copies, place, constants), beside, TIGHT) is not None:
        return Difference(name, Cause.NEIGHBOURS)
    if differing_output(beside, alone, ROUNDING) is None:
        return None
    few = Place(0, place.rows, (3 if place.total == 2 * place.rows else 2) * place.rows)
    fewer = _run_copies(run, inputs, few, constants)
    is_edge = (
        fewer is not None
        and all(_on_either_side(copy, beside, alone) for copy in _parts(copies, place, constants))
        and all(_on_either_side(copy, beside, alone) for copy in _parts(fewer, few, constants))
        and _jumps(run, inputs, alone)
    )
    return Difference(name, Cause.ROUNDING if is_edge else Cause.COUNT)


def _run_copies(
    run: Run, inputs: Mapping[str, Array], place: Place, constants: Collection[str]
) -> dict[str, Output] | None:
    """Run rows beside nothing but themselves; None when the model refuses that."""
    try:
        outputs = run(crowd(inputs, place))
        check_rows(outputs, place.total, constants)
    except (TransientError, RunStoppedError, TrialTimeoutError):
        raise
    except PredictionError:
        return None
    return outputs


def _parts(outputs: Mapping[str, Output], place: Place, constants: Collection[str]) -> Iterator[dict[str, Output]]:
    """Give what each whole copy of a crowd gave."""
    for start in range(place.start % place.rows, place.total - place.rows + 1, place.rows):
        yield part(outputs, Place(start, start + place.rows, place.total), constants)


def _on_either_side(copy: Mapping[str, Output], one: Mapping[str, Output], other: Mapping[str, Output]) -> bool:
    return all(either(copy[name], one[name], other[name], ROUNDING) for name in other)


def _jumps(run: Run, inputs: Mapping[str, Array], alone: Mapping[str, Output]) -> bool:
    """Tell whether rows stand at an edge, which a hair's breadth in their floats shows; True where that cannot be told.

    It cannot without floats, nor with NaN, of which vectors and single instructions make different things.
    """
    floats = [array for array in inputs.values() if array.dtype.kind == "f"]
    if not floats or not all(np.isfinite(array).all() for array in floats):
        return True
    for seed in range(_NUDGES):
        random = Random(seed)
        nudged = {name: _nudged(array, random) for name, array in inputs.items()}
        try:
            if differing_output(run(nudged), alone, ROUNDING) is not None:
                return True
        except (TransientError, RunStoppedError, TrialTimeoutError):
            raise
        except PredictionError:
            return True
    return False


def _nudged(array: Array, random: Random) -> Array:
    if array.dtype.kind != "f":
        return array
    breadth = max(_HAIR, 2 * float(np.finfo(array.dtype).eps))
    sizes = np.maximum(np.abs(array), breadth)
    is_up = np.frombuffer(random.randbytes(array.size), np.uint8).reshape(array.shape) < 128
    return np.asarray(array + np.where(is_up, breadth, -breadth) * sizes).astype(array.dtype)


def crowd(inputs: Mapping[str, Array], place: Place) -> dict[str, Array]:
    """Fill a run with copies of the same rows, so that they stand whole at their place."""
    indices = (np.arange(place.total) - place.start) % max(place.rows, 1)
    return {name: array[indices] for name, array in inputs.items()}


def _shape(value: Output) -> tuple[int, ...] | None:
    return value.shape if isinstance(value, np.ndarray) else None
