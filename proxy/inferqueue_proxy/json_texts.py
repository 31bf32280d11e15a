"""JSON as clients send it: strictly, but for a byte order mark, and for the numbers that Triton's clients write."""

import codecs
import json
from typing import Any

import msgspec
import orjson

from inferqueue_core.json_tensors import load_json

_raw = msgspec.json.Decoder(msgspec.Raw)


def read_json(text: bytes) -> Any:
    """Parse a JSON text; raise ValueError, in words that go on after `the body`, when it is none."""
    try:
        return load_json(without_mark(text))
    except orjson.JSONDecodeError as error:
        raise ValueError(_flaw(text, error)) from None


def read_json_with_nan(text: bytes) -> Any:
    """Parse a JSON text in which NaN, Infinity and -Infinity may stand; raise ValueError as `read_json` does.

    Each becomes a string, as which tensors of floats take it, and no other tensor does. Triton's clients write them.
    """
    try:
        return load_json(without_mark(text))
    except orjson.JSONDecodeError as error:
        if b"NaN" not in text and b"Infinity" not in text:
            raise ValueError(_flaw(text, error)) from None
    try:
        value = json.loads(without_mark(text).decode(), parse_constant=str)
        orjson.dumps(value)  # which knows no numbers beyond 64 bits, and no halves of characters
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    return value


def is_json(text: bytes) -> bool:
    """Tell whether a text is JSON in UTF-8, without making its values, which take up to 40 times its memory."""
    try:
        _raw.decode(text)
        if not text.isascii():
            text.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def without_mark(text: bytes) -> bytes:
    """Give a text in UTF-8 without the byte order mark that some editors and shells put before it."""
    return text.removeprefix(codecs.BOM_UTF8)


def _flaw(text: bytes, error: orjson.JSONDecodeError) -> str:
    if not text:
        return "is empty; send JSON"
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "is UTF-16; send UTF-8"
    return f"is not JSON: {error}"
