"""Data as JSON text: nested lists, numpy arrays, or objects of either by input name."""

import math
from typing import Any

import orjson

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def encode(data: Any) -> bytes:
    """Write `data` as JSON; NaN and the infinities become the strings that the proxy reads as such.

    Raises TypeError for what is neither JSON nor an array.
    """
    try:
        text = orjson.dumps(data, default=_plain, option=_OPTIONS)
        if b"null" not in text:
            return text
        # orjson writes null for NaN and the infinities: rare enough to look at every value only then.
        return orjson.dumps(_with_special_floats(data), option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise TypeError(str(error.__cause__ or error)) from None


def _plain(value: Any) -> Any:
    """Return what orjson can write in place of an array or a scalar that it cannot."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "__array__"):
        return value.__array__().tolist()
    raise TypeError(
        f"{type(value).__name__} is no JSON value and no array; send numbers, strings, lists, or a numpy array"
    )


def _with_special_floats(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else _special(value)
    if isinstance(value, dict):
        return {name: _with_special_floats(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_special_floats(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return _with_special_floats(_plain(value))


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
