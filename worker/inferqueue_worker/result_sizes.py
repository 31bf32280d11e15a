"""How many bytes a result will have, told before it is written: what is too large is never built."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import orjson

from inferqueue_core.datatypes import Array
from inferqueue_worker.errors import ResultTooLargeError
from inferqueue_worker.predictor import Output

# Redis takes no value above this (proto-max-bulk-len).
MOST_REDIS_BYTES = 536_870_912
DEFAULT_BYTES = 67_108_864

# -2.2250738585072014e-308 and a comma.
_MOST_OF_NUMBER = 26
# 0 and a comma.
_LEAST_OF_NUMBER = 2
# Brackets and a comma; quotes and a comma, or the length that a tensor has.
_LIST, _MOST_AROUND_TEXT = 3, 4
# Escaped, a character takes \u0000.
_MOST_OF_CHARACTER = 6
_PIECE = 65_536


def check_size(size: int, limit: int) -> None:
    """Raise ResultTooLargeError when a result of `size` bytes is above `limit`."""
    if size > limit:
        raise ResultTooLargeError(
            f"the result is too large: {size:,} bytes are more than {limit:,}, the limit (MAX_RESULT_BYTES); "
            "ask for fewer outputs or rows"
        )


def check_values(outputs: Mapping[str, Output], limit: int) -> None:
    """Raise ResultTooLargeError when an envelope of these outputs is sure to be above `limit`."""
    check_size(sum(_binary_bytes(value, limit) for value in outputs.values()), limit)


def check_json(value: Any, limit: int) -> None:
    """Raise ResultTooLargeError when this value's JSON text is sure to be above `limit`; the size said is estimated."""
    check_size(_least_json_bytes(value, limit), limit)


def most_json_bytes(value: Any) -> int:
    """Give what the JSON text of an output has at most, which is more than its tensor has.

    Maps in a list are taken to be like the first of them.
    """
    if hasattr(value, "dtype"):
        # Each list of a shape without a 0 holds an element, which is in as many lists as there are dimensions.
        lists = value.size * value.ndim if value.size else _lists(value)
        if value.dtype.kind in "OU":
            return int(_MOST_OF_CHARACTER * _characters(value) + _MOST_AROUND_TEXT * value.size + _LIST * lists)
        return int(_MOST_OF_NUMBER * value.size + _LIST * lists)
    if isinstance(value, dict):
        return sum(_MOST_OF_CHARACTER * (len(str(key)) + 1) + most_json_bytes(part) for key, part in value.items())
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return len(value) * (most_json_bytes(value[0]) + _LIST)
        return _LIST + sum(map(most_json_bytes, value))
    return _MOST_OF_CHARACTER * len(value) + _MOST_AROUND_TEXT if isinstance(value, str) else _MOST_OF_NUMBER


def _least_json_bytes(value: Any, limit: int) -> int:
    """Give what the JSON text of an output has at least; beyond `limit` about what it has."""
    if hasattr(value, "dtype"):
        elements = _text_bytes(value) if value.dtype.kind in "OU" else _number_bytes(value, limit)
        return elements + 2 * _lists(value) - 1
    if isinstance(value, dict):
        return sum(_least_json_bytes(part, limit) for part in value.values())
    if isinstance(value, list):
        return sum(_least_json_bytes(part, limit) for part in value)
    return len(value) if isinstance(value, str) else 1


def _text_bytes(array: Array) -> int:
    return int(_characters(array) + 3 * array.size)


def _number_bytes(array: Array, limit: int) -> int:
    """Return the size of the numbers' texts with a comma each: written up to `limit`, and multiplied up from there.

    Of more numbers than could fit into `limit` at their shortest, only a piece is written.
    """
    flat, written = array.reshape(-1), 0
    if flat.size * _LEAST_OF_NUMBER > limit:
        limit = 0
    for start in range(0, flat.size, _PIECE):
        piece = np.ascontiguousarray(flat[start : start + _PIECE])
        written += len(orjson.dumps(piece, option=orjson.OPT_SERIALIZE_NUMPY)) - 1
        if written > limit:
            return int(written * (flat.size / (start + len(piece))))
    return written


def _lists(array: Array) -> int:
    return sum(prod(array.shape[:axis]) for axis in range(array.ndim))


def _characters(array: Array) -> int:
    return sum(len(element) for element in array.reshape(-1).tolist())


def _binary_bytes(value: Output, limit: int) -> int:
    if not isinstance(value, np.ndarray):
        return _least_json_bytes(value, limit)
    return 4 * value.size + _characters(value) if value.dtype.kind in "OU" else value.nbytes
