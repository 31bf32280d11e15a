"""Why an answer differs beside others: the neighbours, the number of rows, or an edge over which rounding tips it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.datatypes import Array
from inferqueue_worker.errors import BadInputError
from inferqueue_worker.predictor import Output
from inferqueue_worker.row_check import Cause, Place, crowd, find_difference, part
from support.row_functions import Function

ROWS = np.array([[1.0, 2.0], [0.5, 0.25], [5.0, -1.0]], np.float32)


def cause(function: Function, rows: Array = ROWS, row: int = 1) -> Cause | None:
    """Find why a row gives something else in a run of all of them; None when it does not."""

    def run(inputs: Mapping[str, Array]) -> dict[str, Output]:
        return {"y": function(inputs["x"])}

    place = Place(row, row + 1, len(rows))
    inputs = {"x": rows[row : row + 1]}
    beside = part(run({"x": rows}), place, ())
    difference = find_difference(run, inputs, place, beside, run(inputs), ())
    return None if difference is None else difference.cause


def rounded(rows: int) -> np.float32:
    """Give what another number of rows adds, as another order of additions would."""
    return np.float32(1 + 2e-7) if rows > 1 else np.float32(1)


def test_the_same_is_no_difference() -> None:
    assert cause(lambda x: x * 2) is None


def test_rounding_is_no_difference() -> None:
    assert cause(lambda x: x * rounded(len(x))) is None


def test_neighbours() -> None:
    assert cause(lambda x: x + x.mean()) is Cause.NEIGHBOURS


def test_another_shape() -> None:
    assert cause(lambda x: np.zeros((len(x), len(x)))) is Cause.SHAPE


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x / len(x),
        lambda x: x + np.arange(len(x), dtype=np.float32)[:, None],
        lambda x: np.full(len(x), len(x)),
        lambda x: np.full(len(x), len(x) > 1),
        lambda x: x * 2 if len(x) > 2 else x,
    ],
    ids=["divided by it", "row number", "the number itself", "more than one", "more than two"],
)
def test_the_number_of_rows(function: Function) -> None:
    assert cause(function) is Cause.COUNT


def test_a_step_over_which_rounding_tips_a_value() -> None:
    at_edge = np.array([[1, 2], [np.nextafter(np.float32(0.5), np.float32(0)), 0.25], [5, -1]], np.float32)

    def steps(x: Array) -> Any:
        return np.floor(x * rounded(len(x)) * 2)

    assert cause(steps, at_edge) is Cause.ROUNDING
    assert cause(steps, at_edge + np.float32(0.1)) is None


def test_copies_that_are_refused_are_no_excuse() -> None:
    def refuse_equals(x: Array) -> Any:
        if len(x) > 1 and (x == x[0]).all():
            raise BadInputError("twice the same")
        return x + x.sum()

    assert cause(refuse_equals) is Cause.NEIGHBOURS


@given(st.integers(1, 4), st.integers(0, 9), st.integers(0, 9))
def test_a_crowd_holds_the_rows_whole_at_their_place_and_nothing_else(rows: int, before: int, after: int) -> None:
    inputs = {"x": np.arange(rows * 2).reshape(rows, 2)}
    filled = crowd(inputs, Place(before, before + rows, before + rows + after))["x"]
    assert len(filled) == before + rows + after
    np.testing.assert_array_equal(filled[before : before + rows], inputs["x"])
    assert {tuple(row) for row in filled.tolist()} == {tuple(row) for row in inputs["x"].tolist()}
