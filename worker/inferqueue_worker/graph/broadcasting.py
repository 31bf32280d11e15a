"""How rows fare where an operator takes matching elements of several tensors, or sums products of them."""

from collections.abc import Hashable, Sequence

from msgspec.structs import replace

from inferqueue_worker.graph.calls import Call
from inferqueue_worker.graph.sizes import Dim, rows_in, wider
from inferqueue_worker.graph.values import Kind, Lie, Shape, Value, rows, worst


def relaid(value: Value, shape: Shape | None, axis: int | None = None) -> Value:
    """Return a value whose elements were laid out in `shape`, its rows along `axis`."""
    if value.lie is None or axis is None:
        return replace(value, shape=shape, elements=None, lie=None, padding=None)
    return replace(value, shape=shape, elements=None, padding=None, lie=replace(value.lie, axis=axis))


def resized(value: Value, shape: Shape | None) -> Value:
    """Return a value whose axes have other sizes, with the rows along the axis where they were."""
    return relaid(value, shape, None if value.lie is None else value.lie.axis)


def without_rows(call: Call, values: Sequence[Value | None], shape: Shape | None) -> Value | None:
    """Return the result where the inputs' kinds alone decide it; None where it is to be seen how rows lie."""
    found = worst(values)
    if found is None:
        return Value(Kind.CONSTANT, shape)
    if found.bad or found.kind in (Kind.CONSTANT, Kind.COUNT):
        return Value(found.kind, shape, why=found.why)
    if any(value is not None and value.kind is Kind.COUNT for value in values):
        return call.mixed("computes with the number of rows", shape)
    if found.kind is Kind.NUMBERS:
        return call.mixed("computes with the place that a row has in its batch", shape)
    return None


def meet(call: Call, values: Sequence[Value | None]) -> Value:
    """Return the result of an operator that computes each element from the matching elements of its inputs."""
    present = [value for value in values if value is not None]
    first = present[0]
    if first.kind is Kind.ROWS and all(value.kind is Kind.CONSTANT and value.shape == () for value in present[1:]):
        # Most nodes of most models: a short way to what the rest of this function finds.
        return first
    shape = broadcast([value.shape for value in present])
    result = without_rows(call, present, shape)
    if result is not None:
        return result
    lying = [value for value in present if value.lie is not None]
    if any(value.shape is None for value in present):
        return _meet_of_any_rank(call, present, lying[0])
    places = {value.rank - value.lie.axis for value in lying}  # type: ignore[operator,union-attr]  # both are known here
    if len(places) > 1:
        return call.mixed("lines up the rows of one input with another axis of the other")
    (place,) = places
    refusal = different_lies(call, lying) or _constants_at(call, present, place)
    if refusal is not None:
        return refusal
    assert shape is not None
    axis = len(shape) - place
    lie = lying[0].lie
    assert lie is not None
    return rows(shape, replace(lie, axis=axis))


def _meet_of_any_rank(call: Call, present: Sequence[Value], lying: Value) -> Value:
    if all(value is lying or value.rank == 0 for value in present):
        return replace(lying, elements=None)
    return call.unknown("takes tensors of an unknown rank")


def different_lies(call: Call, lying: Sequence[Value]) -> Value | None:
    """Return the result where the rows of two inputs take different numbers of entries; None when they agree."""
    first = lying[0].lie
    assert first is not None
    for value in lying[1:]:
        lie = value.lie
        assert lie is not None
        if (lie.outer, lie.inner) != (first.outer, first.inner):
            if lie.size != first.size and all(isinstance(size, int) for size in _parts(lie) + _parts(first)):
                return call.mixed(f"lines up {lie.size} entries with {first.size}")
            return call.unknown(f"lines up {lie.size} entries with {first.size}, which may differ")
    return None


def _parts(lie: Lie) -> list[Dim]:
    return [lie.outer, lie.inner]


def _constants_at(call: Call, values: Sequence[Value], place: int) -> Value | None:
    """Refuse constants that are longer than one entry where the rows are, `place` axes from the end."""
    for value in values:
        if value.lie is None and value.shape is not None and len(value.shape) >= place:
            refusal = constant_along_rows(call, value.shape[len(value.shape) - place])
            if refusal is not None:
                return refusal
    return None


def constant_along_rows(call: Call, size: Dim) -> Value | None:
    """Return the result where a constant of `size` entries lies along the rows; None for one, which all rows get."""
    if size == 1:
        return None
    if isinstance(size, int):
        return call.mixed(f"lines up the rows with the {size} entries of a constant")
    return call.unknown(f"lines up the rows with a constant of {size} entries")


def broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """Return the shape of tensors that meet; None where it is not known."""
    rank = 0
    for shape in shapes:
        if shape is None:
            return None
        rank = max(rank, len(shape))
    result: list[Dim] = [1] * rank
    for shape in shapes:
        assert shape is not None
        for place, size in enumerate(shape, rank - len(shape)):
            before = result[place]
            if before not in (1, size) and size != 1 and (rows_in(size) or rows_in(before)):
                return None
            result[place] = wider(before, size)
    return tuple(result)


Labels = Sequence[Hashable]


def contract(call: Call, operands: Sequence[tuple[Value, Labels]], result: Labels, shape: Shape | None) -> Value:
    """Return a sum of products, as Einstein writes it: each axis has a label, those that are not in `result` go."""
    decided = without_rows(call, [value for value, _ in operands], shape)
    if decided is not None:
        return decided
    found: dict[Hashable, Value] = {}
    for value, labels in operands:
        if value.lie is not None:
            label = labels[value.lie.axis]
            if list(labels).count(label) > 1:
                return call.mixed("takes the diagonal of rows and another axis")
            found.setdefault(label, value)
    if len(found) > 1:
        return call.mixed("multiplies each row with the other rows")
    ((label, first),) = found.items()
    if label not in result:
        return call.mixed("sums over the rows")
    refusal = different_lies(call, [value for value, _ in operands if value.lie is not None])
    if refusal is not None:
        return refusal
    for value, labels in operands:
        if value.lie is None and label in labels:
            if value.shape is None:
                return call.unknown("multiplies the rows with a constant of unknown shape")
            refusal = constant_along_rows(call, value.shape[list(labels).index(label)])
            if refusal is not None:
                return refusal
    assert first.lie is not None
    return rows(shape, replace(first.lie, axis=list(result).index(label)))
