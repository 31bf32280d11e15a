"""What the graph of an ONNX model tells about its rows."""

from typing import Literal

from msgspec import Struct


class RowReading(Struct, frozen=True):
    """What was read: whether rows stay apart, and the `reason`, which names the node that decided.

    `apart`: each row of every output depends on the same row of the inputs only. `mixed`: rows depend on each other.
    `undecided`: an operator that nobody knows. `constant_outputs` depend on no input.
    """

    verdict: Literal["apart", "mixed", "undecided"]
    reason: str
    constant_outputs: tuple[str, ...] = ()
