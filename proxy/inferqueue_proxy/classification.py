"""The classification extension of the Open Inference Protocol: of an output, the classes with the largest values."""

from collections.abc import Sequence
from math import prod

import numpy as np

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.tensors import Tensor


def top_classes(tensor: Tensor, count: int, classes: Sequence[str], *, by_row: bool) -> Tensor:
    """Return the `count` largest values, the largest first, as texts `value:index`, with `:label` where there is one.

    `by_row` takes each row for itself, which gives the shape [rows, count], and otherwise the whole tensor, which gives
    [count]. Where there are fewer values, all come. `classes` name the values of a row when they are as many.
    """
    rows = tensor.shape[0] if by_row else 1
    flat = tensor.array.reshape(rows, prod(tensor.shape[1:]) if by_row else tensor.array.size)
    count = min(count, flat.shape[1])
    labels = [f":{label}" for label in classes] if len(classes) == flat.shape[1] else [""] * flat.shape[1]
    texts = np.empty((len(flat), count), dtype=object)
    for row, values in zip(texts, flat, strict=True):
        row[:] = [f"{_shown(values[index])}:{index}{labels[index]}" for index in _largest(values, count)]
    return Tensor(tensor.name, Datatype.BYTES, texts if by_row else texts[0])


def _largest(values: Array, count: int) -> list[int]:
    """Return the places of the largest values: of equal ones the first one first, and what is no number last."""
    order = np.argsort(values[::-1], kind="stable")[::-1]  # which puts NaN before everything
    order = len(values) - 1 - order
    if values.dtype.kind == "f":
        missing = np.isnan(values[order])
        order = np.concatenate([order[~missing], order[missing]])
    found: list[int] = order[:count].tolist()
    return found


def _shown(value: "np.generic") -> str:
    return f"{value:f}" if value.dtype.kind == "f" else str(value)
