"""Operators that lay elements out in another shape, and those that read or make shapes."""

from collections.abc import Sequence

from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import relaid
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, OddNodeError, Rule, axis_of, data_dependent
from inferqueue_worker.graph.elements import from_array, to_array
from inferqueue_worker.graph.sizes import ROWS, Dim, Size, product, quotient, rows_in, times
from inferqueue_worker.graph.values import Kind, Lie, Shape, Value, constant, holds_rows, ruined, vector


def reshape(call: Call) -> Value:
    value = call.value(0)
    attribute = call.integers("shape")
    target = vector(attribute) if attribute is not None else call.value(1)
    refused = data_dependent(call, [1], "its shape") if target.kind not in (Kind.CONSTANT, Kind.COUNT) else None
    if refused is not None:
        return refused
    if target.elements is None or any(not isinstance(size, (int, Size)) for size in target.elements):
        return of_unknown_shape(call, value, target)
    sizes = _resolve(call, value.shape, target.elements, keeps_zero=bool(call.integer("allowzero")))
    return reshaped(call, value, sizes)


def of_unknown_shape(call: Call, value: Value, target: Value) -> Value:
    rank = target.shape[0] if target.shape is not None and len(target.shape) == 1 else None
    if value.settled and target.settled:
        return constant(call.sizes(rank) if isinstance(rank, int) else None)
    return ruined(value) if value.bad else call.unknown("gives a shape that cannot be computed")


def _resolve(call: Call, shape: Shape | None, target: Sequence[Dim], *, keeps_zero: bool) -> Shape | None:
    """Return the sizes that a Reshape's target stands for, with its 0 (as before) and -1 (what is left) replaced."""
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
    """Return a value in another shape of as many elements, with the rows along the axis where they now lie."""
    array = to_array(value)
    if array is not None and target is not None and all(isinstance(size, int) for size in target):
        return from_array(array.reshape(target))
    if value.lie is None or value.bad:
        return relaid(value, target)
    if value.shape is None or target is None:
        return call.unknown("gives a shape that cannot be computed")
    if value.numbers is not None:
        return call.mixed("computes with the place that a row has in its batch")
    if _factors_differ(product(value.shape), product(target)):
        return call.unknown("takes another number of elements than it gives")
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


def _factors_differ(one: Dim, other: Dim) -> bool:
    if isinstance(one, Size) and isinstance(other, Size):
        return (one.names, one.rows) == (other.names, other.rows) and one.factor != other.factor
    return False


def _lie(shape: Shape, lie: Lie, target: Shape, axis: int) -> Lie | None:
    """Return how rows lie along `axis` of a Reshape's result; None where rows are cut or cannot be told apart.

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
    axis = call.integer("axis", 1)
    if value.padding is not None and axis == 1:
        return value
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    axis = axis + len(value.shape) if axis < 0 else axis
    return reshaped(call, value, (product(value.shape[:axis]), product(value.shape[axis:])))


def transpose(call: Call) -> Value:
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
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
    refused = data_dependent(call, [1], "its axes")
    if refused is not None:
        return refused
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
    return relaid(
        value, tuple(value.shape[axis] for axis in kept), None if value.lie is None else kept.index(value.lie.axis)
    )


def _is_lie(value: Value, axis: int) -> bool:
    return value.lie is not None and value.lie.axis == axis


def unsqueeze(call: Call) -> Value:
    value, axes = call.value(0), _axes(call)
    refused = data_dependent(call, [1], "its axes")
    if refused is not None:
        return refused
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
        return from_array(array.reshape([size for size in target if isinstance(size, int)]))
    return relaid(value, tuple(target), None if value.lie is None else kept[value.lie.axis])


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
    "Shape": shape_of,
    "Size": size_of,
    "Constant": constant_node,
}
