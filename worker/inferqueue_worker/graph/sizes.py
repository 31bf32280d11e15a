"""Sizes of axes, as products of a number, names of sizes that no batch changes, and the number of rows."""

from collections.abc import Iterable

from msgspec import Struct


class Size(Struct, frozen=True):
    """`factor` times the sizes named by `names` (sorted) times the number of rows to the power `rows`.

    A size without names and rows is a plain int instead, so that equal sizes compare equal.
    """

    factor: int
    names: tuple[str, ...]
    rows: int = 0

    def __str__(self) -> str:
        factor = [str(self.factor)] if self.factor != 1 else []
        return "·".join([*factor, *["rows"] * self.rows, *self.names])


Dim = int | Size
ROWS = Size(1, (), 1)


def named(name: str) -> Size:
    """Return a size that is the same for every batch but whose number is not known."""
    return Size(1, (name,))


def rows_in(size: Dim) -> int:
    """Return the power to which the number of rows is in a size."""
    return 0 if isinstance(size, int) else size.rows


def times(one: Dim, other: Dim) -> Dim:
    if isinstance(one, int) and isinstance(other, int):
        return one * other
    if isinstance(one, int):
        one = Size(one, ())
    if isinstance(other, int):
        other = Size(other, ())
    return _plain(one.factor * other.factor, tuple(sorted(one.names + other.names)), one.rows + other.rows)


def product(sizes: Iterable[Dim]) -> Dim:
    result: Dim = 1
    for size in sizes:
        result = times(result, size)
    return result


def quotient(size: Dim, divisor: Dim) -> Dim | None:
    """Return the size that times `divisor` is `size`; None when none is known to be."""
    whole = Size(size, ()) if isinstance(size, int) else size
    part = Size(divisor, ()) if isinstance(divisor, int) else divisor
    if part.factor == 0 or whole.factor % part.factor or part.rows > whole.rows:
        return None
    left = list(whole.names)
    for name in part.names:
        if name not in left:
            return None
        left.remove(name)
    return _plain(whole.factor // part.factor, tuple(left), whole.rows - part.rows)


def _plain(factor: int, names: tuple[str, ...], rows: int) -> Dim:
    return factor if factor == 0 or (not names and not rows) else Size(factor, names, rows)


def wider(one: Dim, other: Dim) -> Dim:
    """Return the size of an axis at which two tensors meet, of which neither is the rows'."""
    if one == other or other == 1:
        return one
    if one == 1 or isinstance(other, int):
        return other
    if isinstance(one, int):
        return one
    return named(f"max({', '.join(sorted((str(one), str(other))))})")
