"""Operators that scale images, rearrange them, and cut regions from them."""

from collections.abc import Sequence

from inferqueue_worker.graph.along_axes import along
from inferqueue_worker.graph.broadcasting import relaid, resized, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule, axis_of
from inferqueue_worker.graph.cuts import counts_rows
from inferqueue_worker.graph.layers import by_sample
from inferqueue_worker.graph.sizes import Dim, Size, rows_in
from inferqueue_worker.graph.values import Element, Kind, Lie, Shape, Value, rows, ruined


def grid_sample(call: Call) -> Value:
    value, grid = call.value(0), call.value(1)
    shape = None
    if value.shape is not None and grid.shape is not None:
        shape = (*value.shape[:2], *grid.shape[1:-1])
    return by_sample(call, shape, data=(0, 1))


def affine_grid(call: Call) -> Value:
    theta, sizes = call.value(0), call.value(1)
    shape = None
    if sizes.elements is not None and all(isinstance(size, (int, Size)) for size in sizes.elements):
        shape = (*sizes.elements[:1], *sizes.elements[2:], len(sizes.elements) - 2)
    if theta.lie is not None and sizes.kind is Kind.COUNT:
        if shape is None or theta.lie != Lie(0) or shape[0] != theta.lie.size or any(map(rows_in, shape[1:])):
            return call.mixed("makes grids for another number of rows")
        return rows(shape, theta.lie)
    decided = without_rows(call, call.inputs, shape)
    return decided or call.mixed("makes a fixed number of grids")


def regions(call: Call) -> Value:
    """RoiAlign and MaxRoiPool: regions name the row that they are cut from."""
    value, boxes = call.value(0), call.value(1)
    shape = None
    if value.shape is not None and boxes.shape is not None:
        shape = (boxes.shape[0], value.shape[1], *call.sizes(4)[2:])
    numbers = call.optional(2)
    own = numbers is not None and numbers.kind is Kind.NUMBERS and numbers.lie == Lie(0) and numbers.numbers is None
    if own and value.lie == Lie(0) == boxes.lie and value.kind is boxes.kind is Kind.ROWS:
        return rows(shape, Lie(0))
    decided = without_rows(call, call.inputs, shape)
    if decided is not None:
        return decided
    in_constant = value.settled and boxes.lie is not None and boxes.lie.axis == 0
    if in_constant and boxes.lie is not None and (numbers is None or numbers.lie == boxes.lie):
        return rows(shape, boxes.lie)
    return call.mixed("cuts regions from rows that the regions name", shape)


def resize(call: Call) -> Value:
    """Resize and Upsample: the rows' axis must keep its size, and no other axis may hang on it."""
    value = call.value(0)
    for index in range(1, 4):
        found = call.optional(index)
        if found is not None and found.kind not in (Kind.CONSTANT, Kind.COUNT):
            return ruined(found) if found.bad else call.mixed("takes its sizes from the rows' values")
    scales, sizes = _scales_and_sizes(call)
    if value.lie is None or value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    rank = len(value.shape)
    axes = [axis_of(axis, rank) for axis in call.integers("axes") or range(rank)]
    shape = tuple(call.size(f"scaled {axis}") if axis in axes else size for axis, size in enumerate(value.shape))
    if value.lie.axis in axes:
        place = axes.index(value.lie.axis)
        if scales is None and sizes is None:
            return call.unknown("scales axes by what is not known")
        kept = scales[place] == 1 if scales is not None else sizes is not None and sizes[place] == value.lie.size
        if not kept:
            return call.mixed("scales the axis of the rows", None)
        if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            return call.unknown("fits all axes to one scale, that of the rows among them")
        if call.text("coordinate_transformation_mode") == "tf_crop_and_resize":
            return call.unknown("crops all axes, that of the rows among them")
        shape = (*shape[: value.lie.axis], value.shape[value.lie.axis], *shape[value.lie.axis + 1 :])
    others = [size for axis, size in zip(axes, scales or sizes or (), strict=False) if axis != value.lie.axis]
    if any(map(counts_rows, others)):
        return call.mixed("scales by the number of rows")
    shape = _known_lengths(value.shape, shape, axes, scales, sizes)
    return along(call, relaid(value, shape, value.lie.axis), set(), "")


def _scales_and_sizes(call: Call) -> tuple[Sequence[Element] | None, Sequence[Element] | None]:
    if call.node.operator == "Upsample" or call.version < 11:
        if call.has(1):
            return call.value(1).elements, None
        given = call.attribute("scales")
        return given, None
    sizes = call.optional(3)
    if sizes is not None and sizes.elements:
        return None, sizes.elements
    scales = call.optional(2)
    return (scales.elements or None) if scales is not None else None, None


def _known_lengths(
    before: Shape, shape: Shape, axes: Sequence[int], scales: Sequence[Element] | None, sizes: Sequence[Element] | None
) -> Shape:
    lengths = list(shape)
    for place, axis in enumerate(axes):
        old = before[axis]
        if sizes is not None and isinstance(sizes[place], (int, Size)):
            lengths[axis] = sizes[place]
        elif scales is not None and isinstance(scales[place], (int, float)) and isinstance(old, int):
            lengths[axis] = int(old * scales[place])
        elif scales is not None and scales[place] == 1:
            lengths[axis] = old
    return tuple(lengths)


def blocks(call: Call) -> Value:
    """DepthToSpace and SpaceToDepth: they move elements between all axes but the first."""
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    moved = along(call, value, set(range(1, len(value.shape))), "moves elements along")
    shape = (value.shape[0], *call.sizes(len(value.shape))[1:])
    size = call.integer("blocksize")
    deep = call.node.operator == "SpaceToDepth"
    sizes: list[Dim] = [size**2, size, size]
    for axis, factor in enumerate(sizes, 1):
        old = value.shape[axis]
        grows = deep == (axis == 1)
        if isinstance(old, int) and (grows or old % size == 0):
            shape = (
                *shape[:axis],
                old * size ** (2 if axis == 1 else 1) if grows else old // _whole(factor),
                *shape[axis + 1 :],
            )
    return resized(moved, shape)


def _whole(size: Dim) -> int:
    assert isinstance(size, int)
    return size


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Resize", "Upsample"), resize),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), blocks),
    "GridSample": grid_sample,
    "AffineGrid": affine_grid,
    **dict.fromkeys(("RoiAlign", "MaxRoiPool"), regions),
}
