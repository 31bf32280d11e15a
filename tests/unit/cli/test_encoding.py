"""Data as JSON, as clients send it."""

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue.encoding import encode


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([[5.1, 3.5]], b"[[5.1,3.5]]"),
        ({"a": [1], "b": ["x"]}, b'{"a":[1],"b":["x"]}'),
        (np.array([[1, 2]], dtype=np.int64), b"[[1,2]]"),
        (np.array([[0.1]], dtype=np.float32), b"[[0.1]]"),
        (np.array([[1, 2], [3, 4]]).T, b"[[1,3],[2,4]]"),
        ({"x": np.zeros((1, 2), dtype=np.float16)}, b'{"x":[[0.0,0.0]]}'),
        ([np.float32(0.5), np.int8(3), np.bool_(True)], b"[0.5,3,true]"),
        (np.array([b"caf\xc3\xa9", b"x"]), '["café","x"]'.encode()),
        (np.array(["a", "b"], dtype=object), b'["a","b"]'),
        ("null", b'"null"'),
        ([None], b"[null]"),
        ([math.nan, math.inf, -math.inf, 1.0], b'["NaN","Infinity","-Infinity",1.0]'),
        ({"x": np.array([[1.0, math.nan]], dtype=np.float32)}, b'{"x":[[1.0,"NaN"]]}'),
        ((1, (2, math.inf)), b'[1,[2,"Infinity"]]'),
    ],
)
def test_writes_what_the_proxy_reads(data: Any, text: bytes) -> None:
    assert encode(data) == text


@given(st.lists(st.lists(st.floats(), min_size=2, max_size=2)))
def test_every_float_survives(rows: list[list[float]]) -> None:
    back = [[float(value) for value in row] for row in orjson.loads(encode(rows))]

    np.testing.assert_array_equal(np.array(back), np.array(rows))


def test_refuses_what_is_no_data() -> None:
    with pytest.raises(TypeError, match="object is no JSON value"):
        encode(object())
