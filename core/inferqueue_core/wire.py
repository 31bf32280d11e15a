"""JSON that programs write for one another, read as the values that it stands for."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


def read_json(text: bytes, kind: type[T]) -> T:
    """Read JSON as a `kind`; fields that it does not know are left out. Raises ValueError for anything else."""
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise ValueError("this JSON is nested too deeply") from None
