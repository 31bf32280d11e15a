"""What the reading knows of a value: on what it depends, its shape, and where along it the rows lie."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from inferqueue_worker.graph.sizes import ROWS, Dim, Size, product, rows_in, times

Element = Any  # an int, float, bool, text or Size; None where it depends on the number of rows in an unknown way
Shape = tuple[Dim, ...]


class Kind(Enum):
    """On what a value depends, worst last: in what is made of two values, the worse counts."""

    CONSTANT = 0
    """On no input's values, nor on the number of rows."""
    COUNT = 1
    """On the number of rows, and on no input's values."""
    ROWS = 2
    """Each entry along one axis on the same row of the inputs."""
    NUMBERS = 3
    """Each entry along one axis is the number of its own row, or a tuple of indices that begins with it."""
    UNKNOWN = 4
    MIXED = 5


class Lie(Struct, frozen=True):
    """Where rows lie: along `axis` there are `outer` times the rows times `inner` entries, in this order of nesting."""

    axis: int
    outer: Dim = 1
    inner: Dim = 1

    @property
    def size(self) -> Dim:
        return times(times(self.outer, self.inner), ROWS)


class Value(Struct, frozen=True):
    """A tensor, or with `item` a sequence of tensors alike.

    `shape` is None where not even the rank is known. `elements` are the contents in row-major order of a small tensor
    that no input changes. `numbers` are the places along the last axis that hold the row's own number. `why` is the
    reason of MIXED and UNKNOWN. `padding` is
    the text that fills a table of rows up to the longest one of the run, which is MIXED.
    """

    kind: Kind
    shape: Shape | None = None
    lie: Lie | None = None
    elements: tuple[Element, ...] | None = None
    numbers: tuple[int, ...] | None = None
    why: str = ""
    padding: bytes | None = None
    item: "Value | None" = None

    @property
    def settled(self) -> bool:
        """Whether the value is the same in every run."""
        return self.kind is Kind.CONSTANT

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def bad(self) -> bool:
        return self.kind in (Kind.UNKNOWN, Kind.MIXED)


def constant(shape: Shape | None, elements: Sequence[Element] | None = None) -> Value:
    """Return a value that depends on no input; on the number of rows alone where its elements or its shape do."""
    if elements is None:
        return Value(Kind.CONSTANT, shape)
    counts = any(element is None or (isinstance(element, Size) and element.rows) for element in elements)
    return Value(Kind.COUNT if counts else Kind.CONSTANT, shape, elements=tuple(elements))


def vector(elements: Sequence[Element]) -> Value:
    return constant((len(elements),), elements)


def rows(shape: Shape | None, lie: Lie) -> Value:
    """Return a value whose rows lie so."""
    return Value(Kind.ROWS, shape, lie)


def mixed(why: str, shape: Shape | None = None) -> Value:
    return Value(Kind.MIXED, shape, why=why)


def unknown(why: str, shape: Shape | None = None) -> Value:
    return Value(Kind.UNKNOWN, shape, why=why)


def ruined(value: Value) -> Value:
    """Return what is left of a MIXED or UNKNOWN value in a result whose shape is not known."""
    return Value(value.kind, why=value.why)


def worst(values: Sequence[Value | None]) -> Value | None:
    """Return the first of the worst values; None without values."""
    found: Value | None = None
    for value in values:
        if value is not None and (found is None or value.kind.value > found.kind.value):
            found = value
    return found


def shaped(value: Value, shape: Shape | None) -> Value:
    """Return the value with another shape in which the rows lie as before, without its elements."""
    return replace(value, shape=shape, elements=None)


def total(shape: Shape) -> Dim:
    return product(shape)


def holds_rows(shape: Shape) -> list[int]:
    """Return the axes whose size grows with the rows."""
    return [axis for axis, size in enumerate(shape) if rows_in(size)]
