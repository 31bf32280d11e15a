"""What the reading of a graph finds."""

from typing import Literal

from msgspec import Struct


class RowReading(Struct, frozen=True):
    """What the graph says of rows along axis 0.

    `apart`: each row of every output depends on the same row of the inputs, and on nothing else. `mixed`: it does not,
    or cannot be shown to. `undecided`: it hangs on something that nobody knows. `reason` names the node that decided.
    `constant_outputs` depend on no input and have no rows.
    """

    verdict: Literal["apart", "mixed", "undecided"]
    reason: str
    constant_outputs: tuple[str, ...] = ()


def why_fixed(name: str, size: int) -> str:
    """Say why an input whose axis 0 has a size of its own cannot take the rows of several jobs."""
    return f"axis 0 of input {name!r} is fixed at {size}"
