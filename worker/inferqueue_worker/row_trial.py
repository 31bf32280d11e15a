"""Rows tried alone and together, in many arrangements: does each give beside others what it gives alone?"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct

from inferqueue_core.datatypes import Array
from inferqueue_worker.batching import check_rows, stack
from inferqueue_worker.comparison import LOOSE, TIGHT, differing_output
from inferqueue_worker.errors import BatchingError, PredictionError, TrialTimeoutError
from inferqueue_worker.predictor import Output
from inferqueue_worker.row_check import Cause, Difference, Place, find_difference, part
from inferqueue_worker.samples import Sample, Samples, with_nan

# More rows than fill any vector of a processor, and no multiple of one.
_MANY_ROWS = 37
_REFUSALS = 40


class Effort(Struct, frozen=True):
    """How much is tried: rows, arrangements at least, and what else `seconds` allow for."""

    rows: int
    arrangements: int
    seconds: float


# The graph has proven it: the trial only confirms.
CONFIRMING = Effort(rows=3, arrangements=1, seconds=0.0)
PROVING = Effort(rows=8, arrangements=3, seconds=0.25)
# Where rows alone take more than this share of the time, fewer do: it is together that they show something.
_SHARE_ALONE = 0.25
_FEW_ROWS = 3

Run = Callable[[Mapping[str, Array]], dict[str, Output]]
Order = tuple[int, ...]


class RowTrial(Struct, frozen=True):
    """What was tried, and what spoke against batches; `reason` is '' when nothing did."""

    rows: int
    refused: int
    orders: tuple[Order, ...]
    reason: str


class _Row(Struct, frozen=True):
    inputs: Sample
    alone: dict[str, Output]


class RowTrier:
    """Tries the rows of one model; `run` raises a PredictionError where the model refuses."""

    def __init__(
        self,
        run: Run,
        constants: Collection[str],
        effort: Effort,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run = run
        self._constants = constants
        self._effort = effort
        self._clock = clock
        self._rows: list[_Row] = []
        self._jumps: set[int] = set()
        self._orders: list[Order] = []
        self._refused = 0
        self._refusal = ""
        self._began = 0.0

    def try_rows(self, samples: Samples, first: dict[str, Output]) -> RowTrial:
        """Try the rows, of which the first gave `first` alone."""
        self._began = self._clock()
        try:
            reason = self._why_not(samples, first)
        except (BatchingError, TrialTimeoutError) as error:
            reason = str(error)
        return RowTrial(len(self._rows), self._refused, tuple(self._orders), reason)

    def _why_not(self, samples: Samples, first: dict[str, Output]) -> str:
        self._collect(samples, first)
        if len(self._rows) < 2:
            refusal = self._refusal or "every one is the same"
            return f"it refuses a second row that is made up ({refusal}); give a `sample` of two rows in model.yaml"
        reason = self._why_shapes_differ() or self._why_orders_differ()
        if reason or self._effort is CONFIRMING:
            return reason
        return self._why_not_repeatable() or self._why_copies_differ() or self._why_nan_spreads()

    def _collect(self, samples: Samples, first: dict[str, Output]) -> None:
        """Run rows alone until there are enough of them; leave out those that the model refuses."""
        check_rows(first, 1, self._constants)
        self._rows.append(_Row(samples.first, first))
        for other in samples.others():
            if any(_equal(other, row.inputs) for row in self._rows):
                continue
            try:
                self._rows.append(_Row(other, self._alone(other)))
            except TrialTimeoutError as error:
                # What else is made up may take as long.
                self._refused, self._refusal = self._refused + 1, str(error)
                return
            except BatchingError:
                raise
            except PredictionError as error:
                self._refused, self._refusal = self._refused + 1, str(error)
            if self._has_enough_rows() or self._refused >= _REFUSALS:
                return

    def _has_enough_rows(self) -> bool:
        spent = self._clock() - self._began
        wanted = _FEW_ROWS if spent > _SHARE_ALONE * self._effort.seconds else self._effort.rows
        return len(self._rows) >= wanted

    def _alone(self, row: Sample) -> dict[str, Output]:
        outputs = self._run(row)
        check_rows(outputs, 1, self._constants)
        return outputs

    def _why_shapes_differ(self) -> str:
        first = self._rows[0].alone
        for row in self._rows[1:]:
            for name, value in row.alone.items():
                one, other = _form(first[name]), _form(value)
                if name in self._constants:
                    if differing_output({name: value}, {name: first[name]}, TIGHT) is not None:
                        return f"output {name!r} is no constant: it depends on the inputs"
                elif one != other:
                    return f"output {name!r} of a row has shape {one} or {other}, as its values want"
        return ""

    def _why_orders_differ(self) -> str:
        for number, order in enumerate(arrangements(len(self._rows), confirming=self._effort is CONFIRMING)):
            if number >= self._effort.arrangements and self._is_over():
                break
            reason = self._why_order_differs(order)
            if reason:
                return reason
        has_floats = any(array.dtype.kind == "f" for array in self._rows[0].inputs.values())
        if 2 * len(self._jumps) > len(self._rows) and not has_floats:
            # A row of whole numbers cannot be moved by a hair to see whether it stands at an edge; most rows do not.
            return f"output of a row {Cause.COUNT.value.removeprefix('of a row ')}"
        return ""

    def _why_order_differs(self, order: Order) -> str:
        try:
            together = self._together(order)
        except BatchingError:
            raise
        except PredictionError as error:
            return f"rows that it takes alone cannot run together: {error}"
        alone = stack([self._rows[index].alone for index in order], self._constants)
        if differing_output(together, alone, LOOSE) is None:
            return ""
        for place, index in enumerate(order):
            difference = self._difference(together, Place(place, place + 1, len(order)), index)
            if difference is not None and difference.cause is Cause.ROUNDING:
                self._jumps.add(index)
            elif difference is not None:
                return str(difference)
        return ""

    def _difference(self, together: Mapping[str, Output], place: Place, index: int) -> Difference | None:
        row = self._rows[index]
        beside = part(together, place, self._constants)
        return find_difference(self._run, row.inputs, place, beside, row.alone, self._constants)

    def _together(self, order: Order, *strangers: Sample) -> dict[str, Output]:
        rows = [self._rows[index].inputs for index in order] + list(strangers)
        outputs = self._run({name: np.concatenate([row[name] for row in rows]) for name in rows[0]})
        check_rows(outputs, len(rows), self._constants)
        self._orders.append(order)
        return outputs

    def _why_not_repeatable(self) -> str:
        """Run the first row once more: a model that draws lots, or remembers, gives something else."""
        name = differing_output(self._alone(self._rows[0].inputs), self._rows[0].alone, LOOSE)
        return "" if name is None else f"output {name!r} of the same row changes from run to run"

    def _why_copies_differ(self) -> str:
        """Compare each row beside others with itself beside copies: the same place gives the same bits."""
        order = tuple(range(len(self._rows)))
        together = self._together(order)
        for index in order:
            if self._is_over():
                return ""
            row, place = self._rows[index], Place(index, index + 1, len(order))
            copies = self._run({name: np.repeat(array, len(order), axis=0) for name, array in row.inputs.items()})
            check_rows(copies, len(order), self._constants)
            beside = part(together, place, self._constants)
            name = differing_output(part(copies, place, self._constants), beside, TIGHT)
            if name is not None and differing_output(self._together(order), together, TIGHT) is None:
                return str(Difference(name, Cause.NEIGHBOURS))
        return ""

    def _why_nan_spreads(self) -> str:
        """Put a row of NaN beside others, where the model takes one alone."""
        spoiled = with_nan(self._rows[0].inputs)
        if spoiled is None or self._is_over():
            return ""
        try:
            self._alone(spoiled)
        except PredictionError:
            return ""
        try:
            together = self._together((0, 1), spoiled)
        except BatchingError:
            raise
        except PredictionError as error:
            return f"rows that it takes alone cannot run together: {error}"
        for index in (0, 1):
            difference = self._difference(together, Place(index, index + 1, 3), index)
            if difference is not None and difference.cause is not Cause.ROUNDING:
                return str(difference)
        return ""

    def _is_over(self) -> bool:
        return self._clock() - self._began > self._effort.seconds


def arrangements(rows: int, *, confirming: bool) -> Iterator[Order]:
    """Yield orders in which `rows` rows are run together, those that show most first: pairs, all, backwards, …"""
    everything = tuple(range(rows))
    if confirming:
        yield everything[::-1]
        return
    yield (0, 1)
    yield everything[::-1]
    if rows > 2:
        yield everything
    yield tuple(index % rows for index in range(_MANY_ROWS))
    yield (0, 0, 1, 1, 1)
    if rows > 2:
        yield (2, 0)
        yield (1, 2)
        # An odd number where that of all is even, and the other way round.
        yield everything[:-1]
        yield everything[1::2] + everything[::2]
    for index in range(3, rows):
        yield (index, (2 * index + 1) % rows if (2 * index + 1) % rows != index else 0)


def _equal(one: Sample, other: Sample) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def _form(value: Output) -> Sequence[int] | None:
    return value.shape[1:] if isinstance(value, np.ndarray) else None
