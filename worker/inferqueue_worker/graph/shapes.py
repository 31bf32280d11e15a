"""Operators that lay elements out anew, and those that read or make shapes."""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import broadcast, constant_along_rows, relaid
from inferqueue_worker.graph.calls import Call, OddNodeError, Rule, axis_of, data_dependent
from inferqueue_worker.graph.elements import MOST_ELEMENTS, from_array, to_array
from inferqueue_worker.graph.sizes import ROWS, Dim, Size, product, quotient, rows_in, times
from inferqueue_worker.graph.values import Kind, Lie, Shape, Value, constant, holds_rows, rows, vector


def reshape(call: Call) -> Value:
    value = call.value(0)
    attribute = call.integers("shape")
    target = vector(attribute) if attribute is not None else call.value(1)
    refused = data_dependent(call, [1], "its shape") if target.kind not in (Kind.CONSTANT, Kind.COUNT) else None
    if refused is not None:
        return refused
    if target.elements is None or any(not isinstance(size, (int, Size)) for size in target.elements):
        return _of_unknown_shape(call, value, target)
    sizes = _resolve(call, value.shape, target.elements, keeps_zero=bool(call.integer("allowzero")))
    return reshaped(call, value, sizes)


def _of_unknown_shape(call: Call, value: Value, target: Value) -> Value:
    rank = target.shape[0] if target.shape is not None and len(target.shape) == 1 else None
    if value.settled and target.settled:
        return constant(call.sizes(rank) if isinstance(rank, int) else None)
    return value if value.bad else call.unknown("gives a shape that cannot be computed")


def _resolve(call: Call, shape: Shape | None, target: Sequence[Dim], *, keeps_zero: bool) -> Shape | None:
    """Give the sizes that a Reshape's target stands for, with its 0 (as before) and -1 (what is left) replaced."""
    sizes: list[Dim] = []
    for axis, size in enumerate(target):
        if size == 0 and not keeps_zero:
            if shape is None:
                return None
            size = shape[axis]
        sizes.append(size)
    if -1 not in sizes:
        return tuple(sizes)
    if shape is None:
        return None
    place = sizes.index(-1)
    whole, others = product(shape), product(sizes[:place] + sizes[place + 1 :])
    left = quotient(whole, others)
    if left is None:
        if rows_in(whole) != rows_in(others):
            return None
        left = call.size("what is left")
    return (*sizes[:place], left, *sizes[place + 1 :])


def reshaped(call: Call, value: Value, target: Shape | None) -> Value:
    """Give a value in another shape of as many elements, with the rows along the axis where they now lie."""
    array = to_array(value)
    if array is not None and target is not None and all(isinstance(size, int) for size in target):
        return from_array(array.reshape(target))
    if value.lie is None or value.bad:
        return relaid(value, target)
    if value.shape is None or target is None:
        return call.unknown("gives a shape that cannot be computed")
    if value.numbers is not None:
        return call.mixed("computes with the place that a row has in its batch")
    axes = holds_rows(target)
    if not axes:
        return call.mixed("gives a fixed shape, however many rows there are", target)
    if len(axes) > 1 or rows_in(target[axes[0]]) > 1:
        return call.mixed("lays the rows along several axes", target)
    lie = _lie(value.shape, value.lie, target, axes[0])
    if lie is None:
        before = times(product(value.shape[: value.lie.axis]), value.lie.outer)
        if all(isinstance(size, int) for size in (before, product(target[: axes[0]]))):
            return call.mixed("puts elements of several rows into one", target)
        return call.unknown("may put elements of several rows into one", target)
    return relaid(replace(value, lie=lie), target, axes[0])


def _lie(shape: Shape, lie: Lie, target: Shape, axis: int) -> Lie | None:
    """Give how rows lie along `axis` of a Reshape's result; None where rows are cut or cannot be told apart.

    Row-major, all elements come as `before` times the rows times `after`; so they must along the new axis.
    """
    before = times(product(shape[: lie.axis]), lie.outer)
    outer = quotient(before, product(target[:axis]))
    if outer is not None:
        inner = quotient(target[axis], times(outer, ROWS))
        return None if inner is None else Lie(axis, outer, inner)
    after = times(product(shape[lie.axis + 1 :]), lie.inner)
    inner = quotient(after, product(target[axis + 1 :]))
    if inner is None:
        return None
    outer = quotient(target[axis], times(inner, ROWS))
    return None if outer is None else Lie(axis, outer, inner)


def flatten(call: Call) -> Value:
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown("takes a tensor of an unknown rank")
    axis = call.integer("axis", 1)
    axis = axis + len(value.shape) if axis < 0 else axis
    if len(value.shape) == 2 and axis == 1:
        return value
    return reshaped(call, value, (product(value.shape[:axis]), product(value.shape[axis:])))


def transpose(call: Call) -> Value:
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown("takes a tensor of an unknown rank")
    order = call.integers("perm") or tuple(reversed(range(len(value.shape))))
    array = to_array(value)
    if array is not None:
        return from_array(array.transpose(order))
    if value.numbers is not None:
        return call.mixed("computes with the place that a row has in its batch")
    target = tuple(value.shape[axis] for axis in order)
    return relaid(value, target, None if value.lie is None else order.index(value.lie.axis))


def _axes(call: Call) -> tuple[int, ...] | None:
    return call.plain(1) if call.has(1) else call.integers("axes")


def squeeze(call: Call) -> Value:
    value, axes = call.value(0), _axes(call)
    if value.shape is None or (axes is None and call.has(1)):
        return relaid(value, None) if value.lie is None else call.unknown("removes axes that are not known")
    if axes is None:
        if value.lie is not None and value.lie.size == ROWS:
            return call.mixed("removes every axis of size 1, that of a single row too")
        if not all(isinstance(size, int) for axis, size in enumerate(value.shape) if not _is_lie(value, axis)):
            return relaid(value, None) if value.lie is None else call.unknown("removes axes that are not known")
        gone = [axis for axis, size in enumerate(value.shape) if size == 1]
    else:
        gone = [axis_of(axis, len(value.shape)) for axis in axes]
    if any(_is_lie(value, axis) for axis in gone):
        return call.mixed("removes the axis of the rows, which only a single row allows")
    if value.numbers is not None:
        return call.mixed("computes with the place that a row has in its batch")
    kept = [axis for axis in range(len(value.shape)) if axis not in gone]
    array = to_array(value)
    if array is not None:
        return from_array(array.reshape([array.shape[axis] for axis in kept]))
    return relaid(value, tuple(value.shape[axis] for axis in kept), value.lie and kept.index(value.lie.axis))


def _is_lie(value: Value, axis: int) -> bool:
    return value.lie is not None and value.lie.axis == axis


def unsqueeze(call: Call) -> Value:
    value, axes = call.value(0), _axes(call)
    if value.shape is None or axes is None:
        return relaid(value, None) if value.lie is None else call.unknown("adds axes that are not known")
    rank = len(value.shape) + len(axes)
    added = {axis_of(axis, rank) for axis in axes}
    kept = [axis for axis in range(rank) if axis not in added]
    target: list[Dim] = [1] * rank
    for axis, size in zip(kept, value.shape, strict=True):
        target[axis] = size
    if value.numbers is not None:
        return call.mixed("computes with the place that a row has in its batch")
    array = to_array(value)
    if array is not None:
        return from_array(array.reshape([int(str(size)) for size in target]))
    return relaid(value, tuple(target), value.lie and kept[value.lie.axis])


def expand(call: Call) -> Value:
    value, target = call.value(0), call.value(1)
    refused = data_dependent(call, [1], "its shape") if target.kind not in (Kind.CONSTANT, Kind.COUNT) else None
    if refused is not None:
        return refused
    if target.elements is None or value.shape is None or not all(isinstance(e, (int, Size)) for e in target.elements):
        return _of_unknown_shape(call, value, target)
    wanted: Shape = target.elements
    shape = broadcast([value.shape, wanted])
    array = to_array(value)
    if array is not None and shape is not None and all(isinstance(size, int) for size in shape):
        if int(str(product(shape))) <= MOST_ELEMENTS:
            return from_array(np.broadcast_to(array, tuple(int(str(size)) for size in shape)))
        return relaid(value, shape)
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
    """Give a constant in a shape that may grow with the rows: each row then gets the same."""
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
        return _of_unknown_shape(call, value, repeats)
    factors = repeats.elements
    array = to_array(value)
    if (
        array is not None
        and all(isinstance(f, int) for f in factors)
        and array.size * np.prod(factors) <= MOST_ELEMENTS
    ):
        return from_array(np.tile(array, factors))
    if not all(isinstance(factor, (int, Size)) for factor in factors):
        return value if value.bad else call.unknown("gives a shape that cannot be computed")
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


def shape_of(call: Call) -> Value:
    value = call.value(0)
    if value.shape is None:
        return constant(call.sizes(1)) if value.settled else _shapeless(call, value, (call.size("rank"),))
    start, end = call.integer("start"), call.integer("end", len(value.shape))
    return vector(value.shape[start:end])


def _shapeless(call: Call, value: Value, shape: Shape) -> Value:
    return relaid(value, shape) if value.bad else call.unknown("reads an unknown shape", shape)


def size_of(call: Call) -> Value:
    value = call.value(0)
    if value.shape is None:
        return constant(()) if value.settled else _shapeless(call, value, ())
    return constant((), [product(value.shape)])


def constant_of_shape(call: Call) -> Value:
    target = call.value(0)
    refused = data_dependent(call, [0], "its shape") if target.kind is not Kind.COUNT else None
    if refused is not None:
        return refused
    if target.elements is None or any(not isinstance(size, (int, Size)) for size in target.elements):
        return _of_unknown_shape(call, constant(()), target)
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
            return value if value.bad else call.mixed("takes its length from the rows' values")
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


def constant_node(call: Call) -> Value:
    for name in ("value", "sparse_value"):
        if call.attribute(name) is not None:
            found = call.tensor("value")
            return constant(None) if found is None else found
    for name in ("value_int", "value_float", "value_string"):
        found = call.attribute(name)
        if found is not None:
            return constant((), [found])
    for name in ("value_ints", "value_floats", "value_strings"):
        found = call.attribute(name)
        if found is not None:
            return vector(found)
    raise OddNodeError("a Constant has no value")


RULES: dict[str, Rule] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Expand": expand,
    "Tile": tile,
    "Shape": shape_of,
    "Size": size_of,
    "ConstantOfShape": constant_of_shape,
    "Range": count_up,
    "EyeLike": eye,
    "Constant": constant_node,
}
