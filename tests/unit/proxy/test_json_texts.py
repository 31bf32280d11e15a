import json
import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_proxy.json_texts import is_json, read_json_with_nan

NUMBERS = st.floats() | st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


def _named(value: object) -> object:
    if isinstance(value, list):
        return [_named(element) for element in value]
    if isinstance(value, dict):
        return {name: _named(element) for name, element in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


@given(VALUES)
def test_numbers_that_json_lacks_become_their_names_and_all_else_is_what_it_was(value: object) -> None:
    assert read_json_with_nan(json.dumps(value).encode()) == _named(value)


@given(VALUES)
def test_what_is_json_is_read_as_json(value: object) -> None:
    text = orjson.dumps(_named(value))
    assert read_json_with_nan(text) == orjson.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"nan", b"[NaN", b"[-NaN]", b"[Infinity]]", b'"NaN', b"\xff NaN", b"NaNNaN", b"+Infinity"),
        *(b"[" * 100_000 + b"NaN", b"[NaN, 1" + b"0" * 5000 + b"]", b'[NaN, "\\ud800"]'),
    ],
)
def test_what_is_neither_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="is "):
        read_json_with_nan(text)


def _parses(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # A number beyond float64 is JSON, though no parser can hold it.
        return "number is infinity" in str(error)
    return True


@given(VALUES.map(_named).map(orjson.dumps), st.integers(0), st.binary(max_size=2))
def test_what_is_json_is_told_as_a_parser_tells_it(text: bytes, place: int, put_in: bytes) -> None:
    assert is_json(text)
    at = place % (len(text) + 1)
    for changed in (text[:at] + put_in + text[at:], text[:at] + put_in + text[at + 1 :]):
        assert is_json(changed) == _parses(changed)


@pytest.mark.parametrize("text", [b"", b"NaN", b"\xff", b'"\xff"', b'"\xed\xa0\x80"', b"[" * 100_000, b"[1] 2", b"01"])
def test_what_is_no_json_is_told(text: bytes) -> None:
    assert not is_json(text)
