"""Made-up inputs, on which a model is tried at load."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from math import prod, sqrt
from random import Random
from typing import Any

import numpy as np
from msgspec import Struct

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.errors import InvalidInputError
from inferqueue_core.json_tensors import read_inputs
from inferqueue_core.models import TensorSpec
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.predictor import ModelSignature

# Lengths tried for free dimensions, until the model takes one. The first is that of a short text or a small image:
# what pays at length 1 would be far too much at real lengths.
FREE_LENGTHS = (32, 8, 1, 224, 512)
# Values of one row, which take 64 MiB as float32. More is not made up: with four free dimensions it would be 100 GB.
MOST_VALUES = 16_777_216

Sample = dict[str, Array]

_TEXTS = ("ab", "a b c", "", "B", "the quick brown fox jumps over 12 lazy dogs", "x, y; z", "12.5")
# First and last value of a row of whole numbers, which runs from one to the other. Tables of a few entries take the
# small ones; no value is so large that a model which counts up to it would take long.
_SPANS = ((3, 0), (0, 255), (2, 0), (0, 0), (7, 100), (1000, 0), (-1, -5), (0, 1), (30, 1))


class Samples(Struct, frozen=True):
    """One row to try a model on, and what else there is to tell its rows apart."""

    first: Sample
    given: tuple[Sample, ...] = ()

    def others(self) -> Iterator[Sample]:
        """Give other rows of the same shapes, the likeliest to be taken first: those given, then made-up ones.

        First all inputs are varied together, then one at a time, for where one takes what another does not, as an
        index does.
        """
        yield from self.given
        left = {name: variations(array) for name, array in self.first.items()}
        ways: dict[str, Sequence[Array]] = dict.fromkeys(left, ())
        for number in count():
            # Only what is asked for is made: most models are asked for two rows of eight.
            ways = {name: (*arrays, *islice(left[name], 1)) for name, arrays in ways.items()}
            if number >= max(map(len, ways.values()), default=0):
                break
            yield {name: arrays[number % len(arrays)] for name, arrays in ways.items()}
        if len(ways) > 1:
            for number in range(max(map(len, ways.values()))):
                for name, arrays in ways.items():
                    yield self.first | {name: arrays[number % len(arrays)]}


def samples(signature: ModelSignature, given: Mapping[str, Any] | None) -> Iterator[Samples]:
    """Give rows to try, the likeliest first: those that `model.yaml` gives, else one made up by shape.

    What would be more than MOST_VALUES is not made up. Raises ModelLoadError when the given sample does not fit the
    model.
    """
    if given is not None:
        yield _given(signature, given)
        return
    lengths = FREE_LENGTHS if any(-1 in spec.shape[1:] for spec in signature.inputs) else (1,)
    for length in lengths:
        if sum(prod(_made_up_shape(spec, length)) for spec in signature.inputs) <= MOST_VALUES:
            yield Samples({spec.name: made_up(spec, length) for spec in signature.inputs})


def _given(signature: ModelSignature, given: Mapping[str, Any]) -> Samples:
    try:
        tensors = read_inputs(dict(given), signature.inputs)
    except InvalidInputError as error:
        raise ModelLoadError(f"model.yaml: sample: {error.field}: {error}") from error
    sample = {tensor.name: tensor.array for tensor in tensors}
    if not all(spec.shape[:1] == (-1,) for spec in signature.inputs):
        return Samples(sample)
    rows = min(map(len, sample.values()), default=1)
    first, *others = ({name: array[row : row + 1] for name, array in sample.items()} for row in range(max(rows, 1)))
    return Samples(first, tuple(others))


def made_up(spec: TensorSpec, length: int) -> Array:
    """Make one row of an input; each other free dimension is `length`. Integers are 1, which few models refuse."""
    shape = _made_up_shape(spec, length)
    if spec.datatype is Datatype.BYTES:
        return np.full(shape, "a", dtype=object)
    if spec.datatype.is_float:
        return np.linspace(0.1, 0.9, prod(shape)).reshape(shape).astype(spec.datatype.dtype)
    return np.ones(shape, dtype=spec.datatype.dtype)


def _made_up_shape(spec: TensorSpec, length: int) -> list[int]:
    shape = (-1, -1) if spec.any_shape else spec.shape
    return [1 if size == -1 and axis == 0 else length if size == -1 else size for axis, size in enumerate(shape)]


def variations(array: Array) -> Iterator[Array]:
    """Yield arrays of the same shape and type whose values span what the type can hold, or a text may be."""
    flat = array.reshape(-1)
    if array.dtype.kind == "O":
        made = _texts(flat)
    elif array.dtype.kind == "f":
        made = _floats(flat)
    elif array.dtype.kind == "b":
        made = iter([~flat, np.arange(len(flat)) % 2 == 0, np.arange(len(flat)) < len(flat) // 2])
    else:
        made = _whole_numbers(flat)
    for one in made:
        yield np.asarray(one).astype(array.dtype).reshape(array.shape)


def _texts(flat: Array) -> Iterator[Array]:
    yield np.array([f"{element}b" for element in flat], dtype=object)
    texts = np.array(_TEXTS, dtype=object)
    for start in range(len(texts)):
        yield texts[(np.arange(len(flat)) + start) % len(texts)]


def _floats(flat: Array) -> Iterator[Array]:
    count = len(flat)
    mirrored = flat[::-1].astype(np.float64) * 2 - 0.5
    yield mirrored + 1 if np.array_equal(mirrored, flat) else mirrored
    yield _noise(count)
    yield np.linspace(900.0, 0.0, count)
    yield np.zeros(count)
    yield np.linspace(-3.0, -0.1, count)
    yield np.where(np.arange(count) == count // 2, 50.0, 0.02)
    yield _noise(count)[::-1] * 0.001
    yield np.linspace(0.0, 255.0, count)


def _noise(count: int) -> Array:
    """Return random numbers, the same ones each time, with mean 0 and variance 1; the sum of four is nearly normal."""
    # numpy.random would take a twentieth of the time of a start to import.
    drawn = np.frombuffer(Random(1).randbytes(8 * count), np.uint16).reshape(count, 4)
    return np.asarray((drawn.sum(axis=1, dtype=np.uint32) / 65_536 - 2) * sqrt(3))


def _whole_numbers(flat: Array) -> Iterator[Array]:
    count, limits = len(flat), np.iinfo(flat.dtype)
    half = flat.copy()
    # 0 is an index, a token and a mask too; where the row holds nothing else, 1 is.
    half[count // 2 :] = 0
    yield np.ones_like(flat) if np.array_equal(half, flat) else half
    spans = [span for span in _SPANS if limits.min <= min(span) and max(span) <= limits.max]
    if limits.bits == 8:
        spans = [(limits.min, limits.max), (limits.max, limits.min), (limits.max // 12, limits.max // 8), *spans]
    for span in spans:
        yield _ramp(span, count)


def _ramp(span: tuple[int, int], count: int) -> Array:
    """Give whole numbers from one to the other; the first one where there is room for one only."""
    return np.rint(np.linspace(*span, count)).astype(np.int64)


def with_nan(sample: Sample) -> Sample | None:
    """Give the row with NaN and infinity among its floats; None without floats."""
    spoiled = dict(sample)
    for name, array in sample.items():
        if array.dtype.kind == "f" and array.size:
            values = array.copy()
            values.reshape(-1)[0], values.reshape(-1)[-1] = np.nan, np.inf
            spoiled[name] = values
    return spoiled if any(spoiled[name] is not sample[name] for name in sample) else None


def repeated(sample: Sample, rows: int) -> Sample:
    """Give the sample's one row `rows` times along axis 0."""
    return {name: np.repeat(array, rows, axis=0) for name, array in sample.items()}
