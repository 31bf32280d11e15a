"""Which jobs run together, and how their rows are joined and parted: pure functions of arrays."""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from msgspec import Struct

from inferqueue_core.datatypes import Array
from inferqueue_core.jobs import ClaimedJob
from inferqueue_worker.errors import BatchingError
from inferqueue_worker.predictor import Output


class DecodedJob(Struct, frozen=True):
    """A job's input arrays by name, the outputs it asks for, and whether it wants them as JSON or in an envelope.

    `rows` is the length of axis 0 of its first input, 1 for a scalar or without inputs. `group` is what two jobs must
    share for their rows to be joined.
    """

    job: ClaimedJob
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]
    as_json: bool
    rows: int
    group: Hashable


def decoded_job(job: ClaimedJob, inputs: Mapping[str, Array], outputs: tuple[str, ...], *, as_json: bool) -> DecodedJob:
    """Make a DecodedJob, reading rows and group from its arrays."""
    first = next(iter(inputs.values()), None)
    rows = 1 if first is None or first.ndim == 0 else len(first)
    return DecodedJob(job, inputs, outputs, as_json, rows, group_of(inputs, outputs))


def group_of(inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> Hashable:
    """Return what two jobs must share for their rows to be joined: outputs, types, and shapes but for axis 0."""
    return (outputs, *((array.dtype.str, array.shape[1:]) for array in inputs.values()))


Batch = tuple[DecodedJob, ...]


class _Decoded(Protocol):
    @property
    def rows(self) -> int: ...
    @property
    def group(self) -> Hashable: ...


D = TypeVar("D", bound=_Decoded)


def pack(jobs: Sequence[D], max_rows: int, *, batchable: bool) -> list[tuple[D, ...]]:
    """Put jobs of equal group together, up to `max_rows` rows a batch, in the order of each batch's first job.

    A job with more rows than that is a batch of its own, and so is each job of a model that cannot be batched.
    """
    if not batchable:
        return [(job,) for job in jobs]
    batches: list[list[D]] = []
    open_batches: dict[Hashable, tuple[list[D], int]] = {}
    for job in jobs:
        group = job.group
        batch, rows = open_batches.get(group, ([], 0))
        rows += job.rows
        if not batch or rows > max_rows:
            batch, rows = [], job.rows
            batches.append(batch)
        batch.append(job)
        open_batches[group] = (batch, rows)
    return [tuple(batch) for batch in batches]


def join(batch: Batch) -> dict[str, Array]:
    """Concatenate the inputs of a batch along axis 0."""
    if len(batch) == 1:
        return dict(batch[0].inputs)
    return {name: np.concatenate([job.inputs[name] for job in batch]) for name in batch[0].inputs}


def slices(inputs: Mapping[str, Array], max_rows: int) -> Iterator[dict[str, Array]]:
    """Cut joined inputs into pieces of at most `max_rows` rows."""
    rows = len(next(iter(inputs.values())))
    for start in range(0, max(rows, 1), max_rows):
        yield {name: array[start : start + max_rows] for name, array in inputs.items()}


def stack(pieces: Sequence[Mapping[str, Output]], constants: Collection[str] = ()) -> dict[str, Output]:
    """Put the outputs of pieces together again, along axis 0 (lists end to end); a constant is the same in each."""
    if len(pieces) == 1:
        return dict(pieces[0])
    first = pieces[0]
    return {name: first[name] if name in constants else _stack([piece[name] for piece in pieces]) for name in first}


def _stack(values: Sequence[Any]) -> Output:
    if isinstance(values[0], list):
        return [element for value in values for element in value]
    return np.concatenate(values)


def check_rows(outputs: Mapping[str, Output], rows: int, constants: Collection[str] = ()) -> None:
    """Raise BatchingError unless every output that is no constant has `rows` rows."""
    for name, value in outputs.items():
        if name not in constants and _rows_of(value) != rows:
            shape = getattr(value, "shape", type(value).__name__)
            raise BatchingError(f"output {name!r} has shape {shape} for {rows} rows of input")


def _rows_of(value: Output) -> int | None:
    if isinstance(value, list):
        return len(value)
    return None if isinstance(value, dict) or np.ndim(value) == 0 else len(value)
