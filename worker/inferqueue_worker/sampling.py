"""Batches that are run job by job as well, while the model serves: what no trial foresaw is found, and ends batches."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from msgspec import Struct

from inferqueue_core.datatypes import Array
from inferqueue_worker.batching import Batch, DecodedJob, check_rows
from inferqueue_worker.errors import BatchingError, PredictionError, RunStoppedError, TransientError
from inferqueue_worker.predictor import Output
from inferqueue_worker.row_check import Cause, Place, find_difference, part

# Of the time for which runners are busy.
SHARE = 0.01
# What clients of the first batch may be kept waiting for its check.
_SOON_SECONDS = 0.5
# Spread over a job that was cut into several runs.
_ROWS_OF_CUT = 8

RunJob = Callable[[DecodedJob, Mapping[str, Array]], dict[str, Output]]


class Mismatch(Struct, frozen=True):
    """A job that got something else in a batch than it gets alone: the reason, its rows and its shapes, no values."""

    reason: str
    rows: int
    batch_rows: int
    shapes: dict[str, tuple[int, ...]]


class Batches:
    """Whether jobs may run together, and which batches are checked; shared by all runners of a worker.

    The first batch is checked, and then one whenever all checks so far took at most `share` of the busy time; none is
    where the share is 0. A check that holds answers back for long waits until the share has room for all of it.
    `on_end` is called once, when batches are over.
    """

    def __init__(self, share: float = 0.0, on_end: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._share = share
        self._on_end = on_end
        self._busy = self._spent = 0.0
        self._checking = False
        self.allowed = True

    def worked(self, seconds: float) -> None:
        """Add to the time for which runners were busy."""
        with self._lock:
            self._busy += seconds

    def begin_check(self, expected: float) -> bool:
        """Tell whether the batch at hand, whose check takes about `expected` seconds, is to be checked.

        Then no other is until `end_check`.
        """
        if not self._share or self._checking or not self.allowed or not self._has_room(expected):
            return False
        with self._lock:
            if self._checking:
                return False
            self._checking = True
            return True

    def _has_room(self, expected: float) -> bool:
        room = self._share * self._busy - self._spent
        return room >= (0.0 if expected <= _SOON_SECONDS else expected)

    def end_check(self, seconds: float) -> None:
        """Count what a check took."""
        with self._lock:
            self._spent += seconds
            self._checking = False

    def end(self) -> bool:
        """Forbid batches from now on; tell whether they were allowed until now."""
        with self._lock:
            was_allowed, self.allowed = self.allowed, False
        if was_allowed:
            self._on_end()
        return was_allowed


class _Unit(Struct, frozen=True):
    """What is run alone: a job of a batch, or a row of a job that was cut; and what it got at its place in a run."""

    job: DecodedJob
    inputs: Mapping[str, Array]
    place: Place
    beside: Mapping[str, Output]


def find_mismatch(
    run: RunJob, batch: Batch, outputs: Mapping[str, Output], constants: Collection[str], max_rows: int
) -> Mismatch | None:
    """Run each job of a batch alone, or some rows of a job that was cut, and compare; None when nothing differs.

    Raises TransientError, RunStoppedError or MemoryError when that could not be found out.
    """
    if len(batch) > 1:
        units = _jobs(batch, outputs, constants)
    else:
        units = chain(_rows(batch[0], outputs, constants, max_rows), _rows_together(run, batch[0], constants, max_rows))
    try:
        for unit in units:
            reason = _why_differs(run, unit, constants)
            if reason:
                return Mismatch(reason, unit.place.rows, unit.place.total, shapes_of(unit.inputs))
    except BatchingError as error:
        return Mismatch(str(error), batch[0].rows, sum(job.rows for job in batch), shapes_of(batch[0].inputs))
    return None


def shapes_of(inputs: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of inputs, which tell nothing of their values."""
    return {name: array.shape for name, array in inputs.items()}


def _jobs(batch: Batch, outputs: Mapping[str, Output], constants: Collection[str]) -> Iterator[_Unit]:
    start, total = 0, sum(job.rows for job in batch)
    for job in batch:
        place = Place(start, start + job.rows, total)
        yield _Unit(job, job.inputs, place, part(outputs, place, constants))
        start = place.end


def _rows(job: DecodedJob, outputs: Mapping[str, Output], constants: Collection[str], max_rows: int) -> Iterator[_Unit]:
    """Yield some rows of a job that was cut, in the pieces that they ran in."""
    for row in _spread(job, _ROWS_OF_CUT):
        start = row - row % max_rows
        place = Place(row - start, row - start + 1, min(max_rows, job.rows - start))
        beside = part(outputs, Place(row, row + 1, job.rows), constants)
        yield _Unit(job, _picked(job, [row]), place, beside)


def _rows_together(run: RunJob, job: DecodedJob, constants: Collection[str], max_rows: int) -> Iterator[_Unit]:
    """Yield rows from all over a job that was cut, in a run of their own: for all of it there may be no memory."""
    rows = _spread(job, max(2, min(max_rows, _ROWS_OF_CUT)))
    outputs = run(job, _picked(job, rows))
    check_rows(outputs, len(rows), constants)
    for number, row in enumerate(rows):
        place = Place(number, number + 1, len(rows))
        yield _Unit(job, _picked(job, [row]), place, part(outputs, place, constants))


def _spread(job: DecodedJob, count: int) -> list[int]:
    return sorted({round(at) for at in np.linspace(0, job.rows - 1, count)})


def _picked(job: DecodedJob, rows: Sequence[int]) -> dict[str, Array]:
    return {name: array[rows] for name, array in job.inputs.items()}


def _why_differs(run: RunJob, unit: _Unit, constants: Collection[str]) -> str:
    try:
        alone = run(unit.job, unit.inputs)
        check_rows(alone, unit.place.rows, constants)
    except (TransientError, RunStoppedError):
        raise
    except BatchingError as error:
        return str(error)
    except PredictionError:
        return "the model refuses a row alone that it takes beside others"
    difference = find_difference(
        lambda inputs: run(unit.job, inputs), unit.inputs, unit.place, unit.beside, alone, constants
    )
    return "" if difference is None or difference.cause is Cause.ROUNDING else str(difference)
