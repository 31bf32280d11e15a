"""Made-up inputs, on which a model is tried at load."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

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


def samples(signature: ModelSignature, given: Mapping[str, Any] | None) -> Iterator[tuple[Sample, Sample]]:
    """Give inputs of one row to try, each with another row, the likeliest first.

    They are the first two rows of what `model.yaml` gives, else values made up by shape; so is a second row where one
    is given. What would be more than MOST_VALUES is not made up. Raises ModelLoadError when the given sample does not
    fit the model.
    """
    if given is not None:
        try:
            tensors = read_inputs(dict(given), signature.inputs)
        except InvalidInputError as error:
            raise ModelLoadError(f"model.yaml: sample: {error.field}: {error}") from error
        sample = {tensor.name: tensor.array for tensor in tensors}
        if all(spec.shape[:1] == (-1,) for spec in signature.inputs):
            second = {name: array[1:2] for name, array in sample.items()}
            sample = {name: array[:1] for name, array in sample.items()}
            yield sample, second if all(map(len, second.values())) else varied(sample)
        else:
            yield sample, varied(sample)
        return
    lengths = FREE_LENGTHS if any(-1 in spec.shape[1:] for spec in signature.inputs) else (1,)
    for length in lengths:
        if sum(prod(_made_up_shape(spec, length)) for spec in signature.inputs) <= MOST_VALUES:
            sample = {spec.name: made_up(spec, length) for spec in signature.inputs}
            yield sample, varied(sample)


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


def varied(sample: Sample) -> Sample:
    """Give the sample with other values of the same shapes, so that two rows can be told apart."""
    return {name: _vary(array) for name, array in sample.items()}


def _vary(array: Array) -> Array:
    flat = array.reshape(-1)
    if array.dtype.kind == "O":
        other = np.array([f"{element}b" for element in flat], dtype=object)
    elif array.dtype.kind == "f":
        other = (flat[::-1] * 2 - 0.5).astype(array.dtype)
        if np.array_equal(other, flat):
            other += 1
    else:
        # 0 is an index, a token and a mask too; where the row holds nothing else, 1 is.
        other = flat.copy()
        other[len(flat) // 2 :] = 0
        if np.array_equal(other, flat):
            other = np.ones_like(flat)
    return other.reshape(array.shape)


def repeated(sample: Sample, rows: int) -> Sample:
    """Give the sample's one row `rows` times along axis 0."""
    return {name: np.repeat(array, rows, axis=0) for name, array in sample.items()}
