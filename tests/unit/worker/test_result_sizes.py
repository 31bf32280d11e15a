"""The size of a result is known before it is written, between two bounds."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.tensors import Envelope, Tensor, encode_envelope, tensor_bytes
from inferqueue_worker.errors import ResultTooLargeError
from inferqueue_worker.result_sizes import check_json, check_values, most_json_bytes
from inferqueue_worker.results import to_json
from support.tensor_strategies import arrays

some_arrays = st.sampled_from(list(Datatype)).flatmap(arrays)
outputs = st.dictionaries(st.text(max_size=3), some_arrays | st.lists(some_arrays, max_size=3), max_size=3)


def size_of(value: Any) -> int:
    return len(orjson.dumps(to_json(value)))


@given(outputs)
def test_no_json_is_larger_than_its_upper_bound(value: dict[str, Any]) -> None:
    assert size_of(value) <= most_json_bytes(value) + 2


@given(outputs)
def test_what_fits_is_not_refused_before_it_is_written(value: dict[str, Any]) -> None:
    check_json(value, size_of(value))


@given(st.sampled_from(list(Datatype)).flatmap(lambda d: st.tuples(st.just(d), arrays(d))))
def test_tensors_that_fit_are_not_refused_before_they_are_encoded(case: tuple[Datatype, Array]) -> None:
    datatype, array = case
    check_values({"y": array}, len(encode_envelope(Envelope((Tensor("y", datatype, array),)))))


@given(st.sampled_from(list(Datatype)).flatmap(lambda d: st.tuples(st.just(d), arrays(d))))
def test_no_tensor_is_larger_than_the_upper_bound_of_its_json(case: tuple[Datatype, Array]) -> None:
    assert len(tensor_bytes(Tensor("y", *case))) <= most_json_bytes(case[1])


@pytest.mark.parametrize("limit", [10_000, 1_000_000])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_numbers_are_counted_only_as_far_as_the_limit_and_told_about_right(dtype: str, limit: int) -> None:
    value = (np.random.default_rng(7).normal(size=500_000) * 1e6).astype(dtype)
    with pytest.raises(ResultTooLargeError) as refused:
        check_json([value], limit)
    told = int(str(refused.value).split(": ")[1].split(" ")[0].replace(",", ""))
    assert told == pytest.approx(size_of(value), rel=0.05)


def test_lists_of_nothing_count() -> None:
    with pytest.raises(ResultTooLargeError, match="more than 67,108,864"):
        check_json(np.zeros((2**40, 0), np.float32), 67_108_864)
