"""Operators that repeat what they are given, or make tensors of a given shape."""

from math import prod

import numpy as np
from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import broadcast, constant_along_rows, relaid
from inferqueue_worker.graph.calls import Call, Rule, data_dependent
from inferqueue_worker.graph.elements import MOST_ELEMENTS, from_array, to_array
from inferqueue_worker.graph.shapes import of_unknown_shape
from inferqueue_worker.graph.sizes import ROWS, Size, product, quotient, rows_in, times
from inferqueue_worker.graph.values import Kind, Lie, Shape, Value, constant, holds_rows, rows, ruined


def expand(call: Call) -> Value:
    value, target = call.value(0), call.value(1)
    refused = data_dependent(call, [1], "its shape") if target.kind not in (Kind.CONSTANT, Kind.COUNT) else None
    if refused is not None:
        return refused
    if target.elements is None or value.shape is None or not all(isinstance(e, (int, Size)) for e in target.elements):
        return of_unknown_shape(call, value, target)
    wanted: Shape = target.elements
    shape = broadcast([value.shape, wanted])
    array = to_array(value)
    sizes = [size for size in shape or () if isinstance(size, int)]
    if array is not None and shape is not None and len(sizes) == len(shape) and prod(sizes) <= MOST_ELEMENTS:
        return from_array(np.broadcast_to(array, sizes))
    if value.bad or shape is None:
        return relaid(value, shape) if value.bad else call.mixed("lines up the rows with another axis")
    axes = holds_rows(shape)
    if value.lie is None:
        return _spread(call, value, shape, axes)
    place = len(value.shape) - value.lie.axis
    if len(axes) > 1:
        return call.mixed("gives each row as many entries as there are rows", shape)
    if len(wanted) >= place and wanted[-place] not in (1, value.lie.size):
        return constant_along_rows(call, wanted[-place]) or call.unknown("gives a shape that cannot be computed")
    if value.numbers is not None and len(value.shape) and shape[-1] != value.shape[-1]:
        return call.mixed("computes with the place that a row has in its batch")
    return relaid(value, shape, len(shape) - place)


def _spread(call: Call, value: Value, shape: Shape, axes: list[int]) -> Value:
    """Return a constant in a shape that may grow with the rows: each row then gets the same."""
    if not axes:
        return relaid(value, shape)
    if value.kind is Kind.COUNT:
        return call.mixed("gives the number of rows to each row", shape)
    if len(axes) > 1 or rows_in(shape[axes[0]]) > 1:
        return call.mixed("gives each row as many entries as there are rows", shape)
    assert value.shape is not None
    place = len(shape) - axes[0]
    if len(value.shape) >= place and value.shape[-place] != 1:
        return constant_along_rows(call, value.shape[-place]) or call.unknown("gives a shape that cannot be computed")
    return rows(shape, Lie(axes[0], 1, quotient(shape[axes[0]], ROWS) or 1))


def tile(call: Call) -> Value:
    value, repeats = call.value(0), call.value(1)
    refused = data_dependent(call, [1], "its repeats") if repeats.kind not in (Kind.CONSTANT, Kind.COUNT) else None
    if refused is not None:
        return refused
    if repeats.elements is None or value.shape is None or len(repeats.elements) != len(value.shape):
        return of_unknown_shape(call, value, repeats)
    factors = repeats.elements
    array = to_array(value)
    if (
        array is not None
        and all(isinstance(f, int) for f in factors)
        and array.size * np.prod(factors) <= MOST_ELEMENTS
    ):
        return from_array(np.tile(array, factors))
    if not all(isinstance(factor, (int, Size)) for factor in factors):
        return ruined(value) if value.bad else call.unknown("gives a shape that cannot be computed")
    shape = tuple(times(size, factor) for size, factor in zip(value.shape, factors, strict=True))
    if value.bad:
        return relaid(value, shape)
    axes = holds_rows(shape)
    if value.lie is None:
        return _tiled_constant(call, value, shape, axes)
    if len(axes) > 1 or rows_in(shape[axes[0]]) > 1:
        return call.mixed("repeats each row as often as there are rows", shape)
    if value.numbers is not None and factors[-1] != 1:
        return call.mixed("computes with the place that a row has in its batch")
    lie = replace(value.lie, outer=times(value.lie.outer, factors[value.lie.axis]))
    return relaid(replace(value, lie=lie), shape, lie.axis)


def _tiled_constant(call: Call, value: Value, shape: Shape, axes: list[int]) -> Value:
    if not axes:
        return relaid(value, shape)
    if len(axes) > 1 or value.kind is Kind.COUNT or rows_in(shape[axes[0]]) > 1:
        return call.mixed("repeats a constant in several ways by the number of rows", shape)
    assert value.shape is not None
    # Row after row holds the whole constant; where it is repeated more often than once a row, all of it belongs to one.
    return rows(shape, Lie(axes[0], 1, quotient(shape[axes[0]], ROWS) or 1))


def constant_of_shape(call: Call) -> Value:
    target = call.value(0)
    refused = data_dependent(call, [0], "its shape") if target.kind is not Kind.COUNT else None
    if refused is not None:
        return refused
    if target.elements is None or any(not isinstance(size, (int, Size)) for size in target.elements):
        return of_unknown_shape(call, constant(()), target)
    shape: Shape = target.elements
    axes = holds_rows(shape)
    if axes:
        return _spread(call, constant(()), shape, axes)
    filling = call.tensor("value")
    element = [0.0] if filling is None else filling.elements
    count = product(shape)
    if element is not None and isinstance(count, int) and count <= MOST_ELEMENTS:
        return constant(shape, list(element) * count)
    return constant(shape)


def count_up(call: Call) -> Value:
    """Range: from 0 to the number of rows, its entries are the rows' own numbers."""
    start, limit, step = (call.value(index) for index in range(3))
    for value in (start, limit, step):
        if value.kind not in (Kind.CONSTANT, Kind.COUNT):
            return ruined(value) if value.bad else call.mixed("takes its length from the rows' values")
    if all(value.elements is not None for value in (start, limit, step)):
        first, last, by = ((value.elements or (None,))[0] for value in (start, limit, step))
        if all(isinstance(number, (int, float)) for number in (first, last, by)):
            if by == 0 or (last - first) / by > MOST_ELEMENTS:
                return constant(call.sizes(1))
            return from_array(np.arange(first, last, by).astype(object))
        if first == 0 and by == 1 and last == ROWS:
            return Value(Kind.NUMBERS, (ROWS,), Lie(0))
        if first == 0 and by == 1 and isinstance(last, Size) and not last.rows:
            return constant((last,))
    if all(value.settled for value in (start, limit, step)):
        return constant(call.sizes(1))
    return call.mixed("counts by the number of rows")


def eye(call: Call) -> Value:
    value = call.value(0)
    if value.lie is not None:
        return call.mixed("gives each row by its place in the batch", value.shape)
    return relaid(value, value.shape)


RULES: dict[str, Rule] = {
    "Expand": expand,
    "Tile": tile,
    "ConstantOfShape": constant_of_shape,
    "Range": count_up,
    "EyeLike": eye,
}
