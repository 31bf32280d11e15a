"""Operators that cut tensors to pieces, join them, and lengthen or shorten their axes."""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from inferqueue_worker.graph.along_axes import along
from inferqueue_worker.graph.broadcasting import different_lies, relaid, resized, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule, axis_of, data_dependent
from inferqueue_worker.graph.elements import from_array, to_array
from inferqueue_worker.graph.sizes import Dim, Size, quotient
from inferqueue_worker.graph.values import Element, Kind, Shape, Value, rows, ruined, worst

# What exporters write for "to the end": more entries than any run has.
_END = 1_000_000_000


def _bounds(call: Call, name: str, index: int) -> Sequence[Element] | None:
    if call.has(index):
        return call.value(index).elements
    return call.integers(name)


def cut(call: Call) -> Value:
    """Slice: along the rows' axis it must take all, in order."""
    value = call.value(0)
    for index in range(1, 5):
        found = call.optional(index)
        if found is not None and found.kind not in (Kind.CONSTANT, Kind.COUNT):
            return ruined(found) if found.bad else call.mixed("takes its bounds from the rows' values")
    starts, ends = _bounds(call, "starts", 1), _bounds(call, "ends", 2)
    axes = _bounds(call, "axes", 3)
    if value.shape is None or (axes is None and (call.has(3) or starts is None)):
        return relaid(value, None) if value.lie is None else call.unknown("cuts along axes that are not known")
    count = len(starts) if starts is not None else len(axes or ())
    places = [axis_of(axis, len(value.shape)) for axis in axes or range(count)]
    steps = _bounds(call, "steps", 4) if call.has(4) else [1] * count
    known = [list(bounds) if bounds is not None else ["?"] * count for bounds in (starts, ends, steps)]
    cuts = dict(zip(places, zip(*known, strict=True), strict=True))
    array = to_array(value)
    if array is not None and all(isinstance(bound, int) for bounds in cuts.values() for bound in bounds):
        return from_array(
            array[tuple(slice(*cuts[axis]) if axis in cuts else slice(None) for axis in range(array.ndim))]
        )
    shape = tuple(_length(call, axis, size, cuts.get(axis)) for axis, size in enumerate(value.shape))
    axis = None if value.lie is None else value.lie.axis
    whole = axis is None or axis not in cuts or shape[axis] == value.shape[axis]
    if whole and axis is not None and axis in cuts and cuts[axis][2] != 1:
        whole = False
    if not whole:
        first = shape if cuts[axis or 0] == (0, 1, 1) else None
        return ruined(value) if value.bad else call.mixed("takes some of the rows", first)
    by_rows = [bound for place, bounds in cuts.items() if place != axis for bound in bounds if counts_rows(bound)]
    if by_rows and not value.bad:
        return call.mixed("cuts by the number of rows")
    if value.numbers is not None and len(value.shape) - 1 in cuts:
        return call.mixed("computes with the place that a row has in its batch")
    return relaid(value, shape, axis)


def counts_rows(bound: Element) -> bool:
    return bound is None or (isinstance(bound, Size) and bound.rows > 0)


def _length(call: Call, axis: int, size: Dim, bounds: tuple[Element, ...] | None) -> Dim:
    if bounds is None:
        return size
    start, end, step = bounds
    if start == 0 and step == 1 and (end == size or (isinstance(end, int) and end >= _END)):
        return size
    if all(isinstance(bound, int) for bound in bounds):
        if isinstance(size, int):
            return len(range(*slice(start, end, step).indices(size)))
        if start < 0 and end >= _END and step == 1 and start == -1:
            return 1
    if start == 0 and step == 1 and isinstance(end, Size):
        return end if not isinstance(size, int) or end.rows == 0 else call.size(f"cut {axis}")
    return call.size(f"cut {axis} {start}:{end}:{step}")


def split(call: Call) -> list[Value]:
    value = call.value(0)
    count = len(call.node.outputs)
    refused = data_dependent(call, [1], "the sizes of its pieces")
    if refused is not None:
        return [refused] * count
    if value.shape is None:
        return [relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)] * count
    axis = axis_of(call.integer("axis"), len(value.shape))
    lengths: Sequence[Dim] | None = call.value(1).elements if call.has(1) else call.integers("split")
    size = value.shape[axis]
    if lengths is None and not call.has(1):
        lengths = _equal_parts(size, count)
    array = to_array(value)
    if array is not None and lengths is not None and all(isinstance(length, int) for length in lengths):
        ends = np.cumsum(np.array(lengths, dtype=int))[:-1]
        return [from_array(part) for part in np.split(array, ends, axis)]
    if value.lie is not None and value.lie.axis == axis and count > 1:
        return [call.mixed("parts the rows")] * count
    pieces: Sequence[Dim] = lengths or [call.size(f"piece {piece}") for piece in range(count)]
    return [
        along(
            call,
            resized(value, (*value.shape[:axis], piece, *value.shape[axis + 1 :])),
            set(),
            "",
        )
        for piece in pieces
    ]


def _equal_parts(size: Dim, count: int) -> list[Dim] | None:
    if isinstance(size, int):
        length = -(-size // count)
        return [*[length] * (count - 1), size - length * (count - 1)]
    part = quotient(size, count)
    return None if part is None else [part] * count


def concat(call: Call) -> Value:
    values = [value for value in call.inputs if value is not None]
    found = worst(values)
    assert found is not None
    shapes = [value.shape for value in values]
    if any(shape is None for shape in shapes):
        return Value(found.kind, None, why=found.why) if found.lie is None else call.unknown(UNKNOWN_RANK)
    known: list[Shape] = [shape for shape in shapes if shape is not None]
    axis = axis_of(call.integer("axis", 1 if call.version < 4 else 0), len(known[0]))
    arrays = [array for array in map(to_array, values) if array is not None]
    if len(arrays) == len(values):
        return from_array(np.concatenate(arrays, axis))
    shape = (*known[0][:axis], _sum(call, [shape[axis] for shape in known]), *known[0][axis + 1 :])
    if found.kind is Kind.NUMBERS:
        return _tuples(call, values, axis, shape)
    decided = without_rows(call, values, shape)
    if decided is not None:
        return decided
    return join(call, values, axis, shape)


def join(call: Call, values: Sequence[Value], axis: int, shape: Shape) -> Value:
    """Join rows along an axis: each input must have its rows at the same place, and that is another axis."""
    lying = [value for value in values if value.lie is not None]
    lie = lying[0].lie
    assert lie is not None
    if any(value.lie is None or value.lie.axis != lie.axis for value in values):
        if any(value.lie is None for value in values) and lie.axis != axis:
            return call.mixed("joins the rows with a constant of a fixed number of entries", shape)
        return call.mixed("joins rows along different axes" if lie.axis != axis else "adds entries to the rows", shape)
    if lie.axis == axis:
        return call.mixed("joins rows one after the other", shape) if len(values) > 1 else lying[0]
    return different_lies(call, lying) or rows(shape, lie)


def _tuples(call: Call, values: Sequence[Value], axis: int, shape: Shape) -> Value:
    """Join the rows' numbers with other indices to tuples, as GatherND and ScatterND take them."""
    places: list[int] = []
    at = 0
    for value in values:
        if axis != len(shape) - 1 or value.lie is None or value.numbers is not None:
            return call.mixed("computes with the place that a row has in its batch")
        size = value.shape[axis] if value.shape else None
        if not isinstance(size, int):
            return call.mixed("computes with the place that a row has in its batch")
        places += range(at, at + size) if value.kind is Kind.NUMBERS else ()
        at += size
    joined = join(call, values, axis, shape)
    return joined if joined.bad else replace(joined, kind=Kind.NUMBERS, numbers=tuple(places))


def _sum(call: Call, sizes: Sequence[Dim]) -> Dim:
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) == len(sizes):
        return sum(numbers)
    return sizes[0] if len(sizes) == 1 else call.size("joined " + " ".join(map(str, sizes)))


def pad(call: Call) -> Value:
    value = call.value(0)
    refused = data_dependent(call, [1, 3], "how much it pads")
    if refused is not None:
        return refused
    pads = call.plain(1) if call.has(1) else call.integers("pads") or call.integers("paddings")
    axes = call.plain(3) if call.has(3) else None
    if value.shape is None or pads is None or (call.has(3) and axes is None):
        return relaid(value, None) if value.lie is None else call.unknown("pads axes that are not known")
    filling = without_rows(call, [call.optional(2)], None)
    if filling is None or not filling.settled:
        return ruined(filling) if filling is not None and filling.bad else call.mixed("pads with what the rows say")
    places = [axis_of(axis, len(value.shape)) for axis in axes or range(len(value.shape))]
    shape = list(value.shape)
    for place, axis in enumerate(places):
        before, after = pads[place], pads[place + len(places)]
        if (before, after) != (0, 0):
            if value.lie is not None and value.lie.axis == axis:
                return call.mixed("pads the axis of the rows")
            size = shape[axis]
            shape[axis] = size + before + after if isinstance(size, int) else call.size(f"padded {axis}")
    return along(call, resized(value, tuple(shape)), set(), "")


def trilu(call: Call) -> Value:
    value = call.value(0)
    refused = data_dependent(call, [1], "its diagonal")
    if refused is not None:
        return refused
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    rank = len(value.shape)
    return along(call, value, {rank - 1, rank - 2}, "keeps entries by their place along")


def center(call: Call) -> Value:
    """CenterCropPad: to a size along axes, which must leave the rows' as it is."""
    value, target = call.value(0), call.value(1)
    if target.kind not in (Kind.CONSTANT, Kind.COUNT):
        return ruined(target) if target.bad else call.mixed("takes its shape from the rows' values")
    if value.shape is None or target.elements is None:
        return relaid(value, None) if value.lie is None else call.unknown("gives a shape that cannot be computed")
    axes = call.integers("axes") or tuple(range(len(value.shape)))
    shape = list(value.shape)
    for axis, size in zip(axes, target.elements, strict=True):
        place = axis_of(axis, len(shape))
        if value.lie is not None and value.lie.axis == place and size != value.lie.size:
            return call.mixed("cuts or pads the axis of the rows")
        if value.lie is not None and value.lie.axis != place and counts_rows(size):
            return call.mixed("cuts by the number of rows")
        shape[place] = size
    return along(call, resized(value, tuple(shape)), set(), "")


RULES: dict[str, Rule] = {
    "Slice": cut,
    "Split": split,
    "Concat": concat,
    "Pad": pad,
    "Trilu": trilu,
    "CenterCropPad": center,
}
