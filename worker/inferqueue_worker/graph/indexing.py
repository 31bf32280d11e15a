"""Operators that take or put elements by index."""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import constant_along_rows, different_lies, relaid, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule, axis_of, data_dependent
from inferqueue_worker.graph.elements import from_array, to_array
from inferqueue_worker.graph.sizes import ROWS, Dim
from inferqueue_worker.graph.values import Kind, Lie, Shape, Value, rows, worst

_SOME = "takes rows by an index that is not their own"


def _decided(call: Call, values: Sequence[Value | None], shape: Shape | None) -> Value | None:
    """Return the result that the inputs' kinds decide; row numbers among them are left to the operator."""
    found = worst(values)
    if found is not None and found.kind is Kind.NUMBERS:
        counts = any(value is not None and value.kind is Kind.COUNT for value in values)
        return call.mixed("computes with the number of rows", shape) if counts else None
    return without_rows(call, values, shape)


def gather(call: Call) -> Value:
    data, indices = call.value(0), call.value(1)
    if data.shape is None or indices.shape is None:
        return _decided(call, [data, indices], None) or call.unknown(UNKNOWN_RANK)
    axis = axis_of(call.integer("axis"), len(data.shape))
    array, places = to_array(data), to_array(indices)
    if array is not None and places is not None and call.plain(1) is not None:
        return from_array(np.take(array, places.astype(int), axis))
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    decided = _decided(call, [data, indices], shape)
    if decided is not None:
        return decided
    if indices.lie is None:
        assert data.lie is not None
        if data.kind is Kind.NUMBERS and data.numbers is not None:
            return call.mixed("computes with the place that a row has in its batch")
        if data.lie.axis == axis:
            return call.mixed("takes rows by a fixed number", shape)
        shift = len(indices.shape) - 1 if data.lie.axis > axis else 0
        return relaid(data, shape, data.lie.axis + shift)
    if data.lie is None:
        if indices.kind is Kind.NUMBERS:
            return call.mixed("looks up the place that a row has in its batch", shape)
        return relaid(indices, shape, axis + indices.lie.axis)
    return _own_row(call, data, indices, axis, shape)


def _own_row(call: Call, data: Value, indices: Value, axis: int, shape: Shape) -> Value:
    """Gather rows from rows: right where each row takes itself."""
    assert data.lie is not None
    assert indices.lie is not None
    own = indices.kind is Kind.NUMBERS and indices.numbers is None and data.lie == Lie(axis)
    if own and data.kind is Kind.ROWS:
        return rows(shape, replace(indices.lie, axis=axis + indices.lie.axis))
    return call.mixed(_SOME, shape)


def gather_elements(call: Call) -> Value:
    data, indices = call.value(0), call.value(1)
    decided = _decided(call, [data, indices], indices.shape)
    if decided is not None:
        return decided
    if data.shape is None or indices.shape is None:
        return call.unknown(UNKNOWN_RANK)
    axis = axis_of(call.integer("axis"), len(data.shape))
    if Kind.NUMBERS in (data.kind, indices.kind):
        return call.mixed("computes with the place that a row has in its batch", indices.shape)
    if data.lie is None:
        assert indices.lie is not None
        if indices.lie.axis == axis:
            return relaid(indices, indices.shape, axis)
        return call.mixed("takes from a constant by the place that a row has in its batch", indices.shape)
    if indices.lie is None:
        return call.mixed(_SOME if data.lie.axis == axis else "takes from a fixed number of rows", indices.shape)
    if data.lie.axis == axis or data.lie.axis != indices.lie.axis:
        return call.mixed(_SOME, indices.shape)
    return different_lies(call, [data, indices]) or relaid(indices, indices.shape, indices.lie.axis)


def gather_nd(call: Call) -> Value:
    data, indices = call.value(0), call.value(1)
    shape, depth = _nd_shape(call, data, indices)
    decided = _decided(call, [data, indices], shape)
    if decided is not None:
        return decided
    if shape is None or depth is None or data.shape is None or indices.shape is None:
        return call.unknown("takes tensors of unknown shape")
    batch = call.integer("batch_dims")
    if batch:
        return _gather_side_by_side(call, data, indices, batch, shape)
    last = len(indices.shape) - 1
    if indices.lie is not None and indices.lie.axis == last:
        return call.mixed("makes an index of several rows", shape)
    if data.lie is None:
        if indices.kind is Kind.NUMBERS or indices.lie is None:
            return call.mixed("looks up the place that a row has in its batch", shape)
        return relaid(indices, shape, indices.lie.axis)
    if indices.lie is None:
        if data.lie.axis < depth:
            return call.mixed("takes rows by a fixed number", shape)
        return relaid(data, shape, last + data.lie.axis - depth)
    if data.kind is Kind.ROWS and _names_own_row(indices, data.lie, depth):
        return rows(shape, indices.lie)
    return call.mixed(_SOME, shape)


def _names_own_row(indices: Value, lie: Lie, depth: int) -> bool:
    """Whether tuples of indices hold the row's own number just where the rows lie."""
    places = indices.numbers if indices.numbers is not None else tuple(range(depth))
    return indices.kind is Kind.NUMBERS and places == (lie.axis,) and (lie.outer, lie.inner) == (1, 1)


def _nd_shape(call: Call, data: Value, indices: Value) -> tuple[Shape | None, int | None]:
    if data.shape is None or indices.shape is None or not indices.shape or not isinstance(indices.shape[-1], int):
        return None, None
    depth = indices.shape[-1]
    return (*indices.shape[:-1], *data.shape[depth + call.integer("batch_dims") :]), depth


def _gather_side_by_side(call: Call, data: Value, indices: Value, batch: int, shape: Shape) -> Value:
    if Kind.NUMBERS in (data.kind, indices.kind):
        return call.mixed("computes with the place that a row has in its batch", shape)
    for value in (data, indices):
        if value.lie is None or value.lie.axis >= batch:
            return call.mixed("takes rows beside a fixed number of entries", shape)
    if data.lie != indices.lie:
        return call.mixed("lines up rows along different axes", shape)
    return rows(shape, data.lie)  # type: ignore[arg-type]  # both lie somewhere


def scatter_elements(call: Call) -> Value:
    data, indices, updates = (call.value(index) for index in range(3))
    decided = without_rows(call, [data, indices, updates], data.shape)
    if decided is not None:
        return decided
    if data.shape is None:
        return call.unknown(UNKNOWN_RANK)
    axis = axis_of(call.integer("axis"), len(data.shape))
    if data.lie is None or indices.lie is None or updates.lie is None:
        return call.mixed("puts rows beside a fixed number of entries", data.shape)
    if axis == data.lie.axis:
        return call.mixed("puts elements into rows by an index that is not their own", data.shape)
    if not data.lie.axis == indices.lie.axis == updates.lie.axis:
        return call.mixed("lines up rows along different axes", data.shape)
    return different_lies(call, [data, indices, updates]) or relaid(data, data.shape, data.lie.axis)


def scatter_nd(call: Call) -> Value:
    data, indices, updates = (call.value(index) for index in range(3))
    decided = _decided(call, [data, indices, updates], data.shape)
    if decided is not None:
        return decided
    if data.shape is None or indices.shape is None or not isinstance(indices.shape[-1], int):
        return call.unknown("takes tensors of unknown shape")
    depth = indices.shape[-1]
    if data.kind is Kind.NUMBERS or updates.kind is Kind.NUMBERS or data.lie is None:
        return call.mixed("puts rows into a tensor that is no row's", data.shape)
    if indices.lie is None and data.lie.axis >= depth:
        return _put_beside(call, data, indices, updates, depth)
    if _names_own_row(indices, data.lie, depth) and indices.lie is not None:
        if updates.lie is None:
            return _updates_of_constants(call, data, updates, indices.lie.axis)
        if updates.lie == indices.lie:
            return data
    return call.mixed("puts elements into rows by an index that is not their own", data.shape)


def _updates_of_constants(call: Call, data: Value, updates: Value, axis: int) -> Value:
    if updates.shape is None or updates.shape[axis] != ROWS:
        return call.mixed("puts a fixed number of entries into rows", data.shape)
    return data


def _put_beside(call: Call, data: Value, indices: Value, updates: Value, depth: int) -> Value:
    """Put into all rows at the same places."""
    assert data.lie is not None
    assert indices.shape is not None
    place = len(indices.shape) - 1 + data.lie.axis - depth
    if updates.lie is not None and updates.lie == replace(data.lie, axis=place):
        return relaid(data, data.shape, data.lie.axis)
    return call.mixed("puts a fixed number of entries into rows", data.shape)


def one_hot(call: Call) -> Value:
    indices, depth = call.value(0), call.plain(1)
    refused = data_dependent(call, [1], "its depth")
    if refused is not None:
        return refused
    if indices.shape is None:
        return _decided(call, call.inputs, None) or call.unknown(UNKNOWN_RANK)
    axis = axis_of(call.integer("axis", -1), len(indices.shape) + 1)
    size: Dim = depth[0] if depth else call.size("depth")
    shape = (*indices.shape[:axis], size, *indices.shape[axis:])
    decided = without_rows(call, call.inputs, shape)
    if decided is not None or indices.lie is None:
        return decided or call.mixed("takes its values from the rows", shape)
    if not call.value(2).settled:
        return call.mixed("takes its values from the rows", shape)
    return relaid(indices, shape, indices.lie.axis + (axis <= indices.lie.axis))


def compress(call: Call) -> Value:
    value, condition = call.value(0), call.value(1)
    axis = call.attribute("axis")
    if value.shape is None or axis is None:
        shape: Shape | None = (call.size("found"),) if value.settled and condition.settled else None
    else:
        axis = axis_of(axis, len(value.shape))
        shape = (*value.shape[:axis], call.size("found"), *value.shape[axis + 1 :])
    decided = without_rows(call, [value, condition], shape)
    if decided is not None:
        return decided
    if condition.settled and value.lie is not None and axis is not None and axis != value.lie.axis:
        return relaid(value, shape, value.lie.axis)
    return call.mixed("keeps entries by their values and places")


def _found(why: str, *ranks: int | None) -> Rule:
    """Return the rule of an operator whose outputs are as long as what it finds, with their ranks for constants."""

    def rule(call: Call) -> list[Value]:
        shapes = [None if rank is None else call.sizes(rank) for rank in ranks]
        decided = without_rows(call, call.inputs, None)
        if decided is not None:
            return [replace(decided, shape=shape if decided.settled else None) for shape in shapes]
        return [call.mixed(why)] * len(shapes)

    return rule


def reverse_sequence(call: Call) -> Value:
    value, lengths = call.value(0), call.value(1)
    decided = without_rows(call, [value, lengths], value.shape)
    if decided is not None or value.lie is None:
        return decided or call.mixed("takes lengths from the rows for a constant", value.shape)
    time, batch = call.integer("time_axis"), call.integer("batch_axis", 1)
    if value.lie.axis == time:
        return call.mixed("reverses the rows", value.shape)
    if value.lie.axis != batch:
        if lengths.settled:
            return relaid(value, value.shape, value.lie.axis)
        return call.mixed("takes lengths from other rows", value.shape)
    if lengths.lie is None:
        assert lengths.shape is not None
        return constant_along_rows(call, lengths.shape[0]) or call.mixed("has one length for all rows", value.shape)
    return different_lies(call, [value, lengths]) or relaid(value, value.shape, batch)


def tensor_scatter(call: Call) -> Value:
    """TensorScatter: a cache of rows along axis 0, updated at each row's own place."""
    decided = without_rows(call, call.inputs, call.value(0).shape)
    if decided is not None:
        return decided
    values = [value for value in call.inputs if value is not None]
    if any(value.lie is None or value.lie.axis != 0 for value in values[:2]):
        return call.mixed("lines up rows with a constant or another axis", values[0].shape)
    if len(values) > 2 and values[2].lie is None:
        return call.mixed("has places for a fixed number of rows", values[0].shape)
    return different_lies(call, values) or relaid(values[0], values[0].shape, 0)


RULES: dict[str, Rule] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": tensor_scatter,
    "OneHot": one_hot,
    "Compress": compress,
    "NonZero": _found("gives as many entries as it finds values in all rows", 2),
    "Unique": _found("compares all rows to find what is there once", None, 1, 1, 1),
    "NonMaxSuppression": _found("gives as many boxes as it finds in all rows", 2),
    "ImageDecoder": _found("reads all rows as one image", 3),
    "ReverseSequence": reverse_sequence,
}
