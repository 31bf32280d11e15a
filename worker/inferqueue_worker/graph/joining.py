"""What is known of a value that is one of two: a branch's or the other's, before a turn of a loop or after it."""

from msgspec.structs import replace

from inferqueue_worker.graph.sizes import Dim, named, rows_in
from inferqueue_worker.graph.values import Kind, Shape, Value, constant, unknown, worst


def either(one: Value, other: Value, place: str) -> Value:
    """Return what holds of both values; `place` names the sizes in which they differ."""
    if one == other:
        return one
    if one.item is not None or other.item is not None:
        return _sequence(one, other, place)
    shape = _shape(one.shape, other.shape, place)
    found = worst([one, other])
    assert found is not None
    if found.bad:
        return Value(found.kind, shape, why=found.why)
    if found.kind in (Kind.CONSTANT, Kind.COUNT):
        if found.kind is Kind.CONSTANT:
            return constant(shape)
        return Value(Kind.COUNT, shape)
    if one.kind is other.kind and one.lie == other.lie and one.numbers == other.numbers:
        return Value(one.kind, shape, one.lie, numbers=one.numbers)
    return unknown(f"the node of {place.partition('#')[0]!r} gives rows that lie in one way or another", shape)


def _sequence(one: Value, other: Value, place: str) -> Value:
    items = [value.item for value in (one, other) if value.item is not None]
    found = worst([one, other])
    assert found is not None
    item = items[0] if len(items) == 1 else either(items[0], items[1], place)
    return replace(found, item=item, shape=None)


def _shape(one: Shape | None, other: Shape | None, place: str) -> Shape | None:
    if one is None or other is None or len(one) != len(other):
        return None
    sizes: list[Dim] = []
    for axis, (first, second) in enumerate(zip(one, other, strict=True)):
        if first != second and (rows_in(first) or rows_in(second)):
            return None
        sizes.append(first if first == second else named(f"axis {axis} of {place}"))
    return tuple(sizes)
