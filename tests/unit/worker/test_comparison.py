"""What counts as the same: types and shapes exactly, floats but for their rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inferqueue_core.datatypes import Array
from inferqueue_worker.comparison import LOOSE, ROUNDING, TIGHT, either, same
from inferqueue_worker.predictor import Output

FLOATS = arrays(np.float32, (3, 4), elements=st.floats(width=32))


@given(FLOATS)
def test_every_array_is_the_same_as_itself(array: Array) -> None:
    assert same(array, array.copy(), TIGHT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4))),
        (np.zeros((2, 3)), np.zeros((2, 3), np.float32)),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array(["a"], object), np.array(["b"], object)),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0])),
        (np.array([1.0, np.inf]), np.array([1.0, -np.inf])),
        ([{"a": 1.0}], [{"b": 1.0}]),
        ([{"a": 1.0}], [{"a": 1.1}]),
        ([{1: "a"}], [{1: "b"}]),
        ([1], [1, 2]),
        ([np.zeros(2)], [np.ones(2)]),
        ([np.zeros(2)], [np.zeros(3)]),
    ],
)
def test_what_differs_is_not_the_same(one: Output, other: Output) -> None:
    assert not same(one, other, LOOSE)


@pytest.mark.parametrize(
    "value",
    [
        np.array([np.nan, np.inf, -np.inf, 1.0], np.float16),
        np.array([], np.float32),
        np.array(1.5),
        np.array([True, False]),
        np.array([["a", ""]], object),
        [{"a": 0.25, "b": float("nan")}],
        [{1: "one"}, {2: "two"}],
        [np.arange(3), np.arange(4)],
        ["a", 1, 2.5],
    ],
    ids=str,
)
def test_the_same_of_every_kind(value: Output) -> None:
    assert same(value, value, TIGHT)


def test_rounding_is_measured_by_the_largest_value_of_a_row() -> None:
    row = np.array([[1000.0, 0.001]], np.float32)
    assert same(row + np.float32(0.005), row, LOOSE)
    assert not same(np.vstack([row, row / 1000 + 1e-4]), np.vstack([row, row / 1000]), LOOSE)


def test_small_values_are_compared_as_closely_as_large_ones() -> None:
    small = np.array([[1e-7, 2e-7]], np.float32)
    assert not same(small * np.float32(1.01), small, LOOSE)
    assert same(small * np.float32(1.01), small, ROUNDING)


def test_the_last_bit_of_half_precision_is_rounding() -> None:
    row = np.array([[1.0, 0.5]], np.float16)
    assert same(np.nextafter(row, np.float16(2)), row, LOOSE)


def test_each_element_may_be_on_either_side() -> None:
    one, other = np.array([1, 2, 3]), np.array([4, 5, 6])
    assert either(np.array([1, 5, 3]), one, other, TIGHT)
    assert not either(np.array([1, 5, 7]), one, other, TIGHT)
    assert either([{"a": 1.0}], [{"a": 2.0}], [{"a": 1.0}], TIGHT)
