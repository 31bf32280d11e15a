from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.tensors import Tensor
from inferqueue_proxy.classification import top_classes


def _top(array: Array, count: int, *classes: str, by_row: bool = True) -> list[object]:
    found = top_classes(Tensor("p", Datatype.FP32, array), count, classes, by_row=by_row)
    assert (found.name, found.datatype) == ("p", Datatype.BYTES)
    texts: list[object] = found.array.tolist()
    return texts


def test_the_largest_values_come_first_with_index_and_label() -> None:
    rows = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)
    assert _top(rows, 2, "a", "b", "c") == [["0.700000:1:b", "0.200000:2:c"], ["0.500000:0:a", "0.250000:1:b"]]


def test_labels_that_are_not_as_many_as_the_values_are_left_out() -> None:
    assert _top(np.array([[1, 2]], np.int64), 1, "a") == [["2:1"]]


def test_where_rows_are_not_apart_the_whole_is_one() -> None:
    assert _top(np.array([[1, 2], [4, 3]], np.uint8), 3, by_row=False) == ["4:2", "3:3", "2:1"]


@pytest.mark.parametrize(("shape", "found"), [((2, 0), (2, 0)), ((0, 3), (0, 2)), ((2,), (2, 1)), ((1, 2, 3), (1, 2))])
def test_any_shape_gives_rows_of_classes(shape: tuple[int, ...], found: tuple[int, ...]) -> None:
    assert top_classes(Tensor("p", Datatype.FP32, np.zeros(shape, np.float32)), 2, (), by_row=True).shape == found


@given(
    arrays.arrays(st.sampled_from([np.float32, np.int8, np.uint64]), st.tuples(st.integers(1, 4), st.integers(1, 9))),
    st.integers(1, 12),
)
def test_values_fall_and_none_that_is_left_out_is_larger(array: Array, count: int) -> None:
    for row, texts in zip(array, _top(array, count), strict=True):
        assert isinstance(texts, list)
        places = [int(text.split(":")[1]) for text in texts]
        assert len(set(places)) == len(places) == min(count, len(row))
        ranked = [-np.inf if row[place] != row[place] else row[place] for place in places]
        assert all(left >= right for left, right in pairwise(ranked))
        assert not any(row[place] > ranked[-1] for place in range(len(row)) if place not in places)
