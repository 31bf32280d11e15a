"""JSON to tensors and back: without loss, and every refusal names the field and the way out."""

import gc
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.errors import InvalidInputError
from inferqueue_core.json_tensors import (
    check_finite,
    json_values,
    load_json,
    read_flat_tensor,
    read_inputs,
    read_tensor,
)
from inferqueue_core.models import TensorSpec
from inferqueue_core.tensors import Tensor
from support.tensor_strategies import arrays, same

NUMBERS = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]
INTEGERS = [datatype for datatype in Datatype if datatype.is_integer]


def spec(datatype: Datatype, *shape: int, name: str = "x") -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def through_json(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def nested(depth: int, leaf: Any = 1) -> Any:
    value = leaf
    for _ in range(depth):
        value = [value]
    return value


def refusal(value: Any, datatype: Datatype, *shape: int, **options: bool) -> tuple[str, str]:
    """Give the field and the message with which a value is refused."""
    with pytest.raises(InvalidInputError) as caught:
        read_tensor("data", value, spec(datatype, *shape), **options)
    return caught.value.field, str(caught.value)


typed_arrays = st.sampled_from(list(Datatype)).flatmap(lambda d: st.tuples(st.just(d), arrays(d)))


@given(typed_arrays)
def test_an_array_comes_back_from_json_without_loss(case: tuple[Datatype, Array]) -> None:
    datatype, array = case
    value = through_json(json_values(array))
    # Nested lists cannot tell what lies inside an empty axis.
    shape = array.shape[: array.shape.index(0) + 1] if 0 in array.shape else array.shape
    back = read_tensor("data", value, spec(datatype, *[-1] * len(shape))).array
    assert back.shape == shape
    assert same(back.reshape(array.shape), array)


@given(typed_arrays)
def test_a_flat_or_nested_array_comes_back_in_its_shape(case: tuple[Datatype, Array]) -> None:
    datatype, array = case
    flat = through_json(json_values(array.reshape(-1)))
    back = read_flat_tensor("data", flat, spec(datatype, *array.shape), array.shape)
    assert same(back.array, array)


_leaf = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["NaN", "Infinity"])
)
_json = st.recursive(
    _leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


@given(_json, st.sampled_from(list(Datatype)), st.lists(st.integers(-1, 3), max_size=3), st.booleans())
def test_anything_is_read_or_named(value: Any, datatype: Datatype, shape: list[int], finite: bool) -> None:
    try:
        value = through_json(value)
    except (orjson.JSONEncodeError, orjson.JSONDecodeError):
        return
    try:
        tensor = read_tensor("data", value, spec(datatype, *shape), finite=finite)
    except InvalidInputError as error:
        told = error
    else:
        assert tensor.array.dtype == datatype.dtype
        return
    assert told.field.startswith("data")
    assert str(told)


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_reach_their_limits_and_no_further(datatype: Datatype) -> None:
    limits = np.iinfo(datatype.dtype.name)
    for value in (int(limits.min), int(limits.max)):
        assert read_tensor("data", [value], spec(datatype, 1)).array.tolist() == [value]
    for value in (int(limits.min) - 1, int(limits.max) + 1):
        if -(2**63) <= value < 2**64:
            message = f"{value} is outside {datatype}, which holds {limits.min} to {limits.max}"
            assert refusal([0, value], datatype, 2) == ("data", message)
    assert "is not an integer" in refusal(orjson.loads("[18446744073709551616]"), datatype, 1)[1]


def test_integers_beyond_the_53_bits_of_a_float_are_exact() -> None:
    for value in (2**53 + 1, -(2**53) - 1, 2**63 - 1):
        assert read_tensor("data", [value, 0], spec(Datatype.INT64, 2)).array.tolist() == [value, 0]
    assert read_tensor("data", [2**64 - 1], spec(Datatype.UINT64, 1)).array.tolist() == [2**64 - 1]
    assert through_json(json_values(np.array([2**64 - 1], dtype="u8"))) == [2**64 - 1]


@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.FP32, Datatype.FP64])
def test_floats_that_json_lacks_are_strings(datatype: Datatype) -> None:
    value = ["NaN", "Infinity", "-Infinity", 1, 0.5, -0.0]
    tensor = read_tensor("data", value, spec(datatype, 6))
    assert np.isnan(tensor.array.astype("f8")[0])
    assert json_values(tensor.array) == ["NaN", "Infinity", "-Infinity", 1.0, 0.5, 0.0]
    assert refusal(value, datatype, 6, finite=True) == ("data", "input 'x' must be finite, data holds NaN or infinity")


def test_a_float32_is_written_with_few_digits() -> None:
    assert json_values(np.array([0.1, 5.1, 1e-45], dtype="f4")) == [0.1, 5.1, 1e-45]


@pytest.mark.parametrize(
    ("datatype", "value"), [(Datatype.FP32, 1e39), (Datatype.FP16, 70000), (Datatype.FP32, -1e300)]
)
def test_a_number_too_large_for_its_type_does_not_become_infinity(datatype: Datatype, value: float) -> None:
    field, message = refusal([0, value], datatype, 2)
    assert field == "data"
    assert f"too large for {datatype}" in message


@pytest.mark.parametrize("datatype", list(Datatype))
@pytest.mark.parametrize("value", [[[1], [1, 2]], [1, [2]], [[], [1]], [[1], 1]])
def test_ragged_rows_are_refused(datatype: Datatype, value: Any) -> None:
    kinds: dict[Datatype, Any] = {Datatype.BYTES: "a", Datatype.BOOL: True}

    def convert(element: Any) -> Any:
        if isinstance(element, list):
            return [convert(inner) for inner in element]
        return kinds.get(datatype, 1)

    field, message = refusal(convert(value), datatype, -1, -1)
    assert (field, "the rows differ in length or depth" in message) == ("data", True)


@pytest.mark.parametrize(
    ("value", "datatype", "field", "message"),
    [
        ([[1.0, True]], Datatype.FP32, "data[0][1]", "true is not a number"),
        ([[1, None]], Datatype.FP32, "data[0][1]", "null is not a number"),
        ([["nan"]], Datatype.FP32, "data[0][0]", '"nan" is not a number'),
        ([[{"a": 1}]], Datatype.FP64, "data[0][0]", '{"a":1} is not a number'),
        ([[1, True]], Datatype.INT64, "data[0][1]", "true is not an integer, which INT64 needs"),
        ([[1, 1.0]], Datatype.INT8, "data[0][1]", "1.0 is not an integer, which INT8 needs"),
        ([["1"]], Datatype.INT8, "data[0][0]", '"1" is not an integer, which INT8 needs'),
        ([[True, 1]], Datatype.BOOL, "data[0][1]", "1 is not true or false, which BOOL needs"),
        ([["a", 1]], Datatype.BYTES, "data[0][1]", "1 is not a string, which BYTES needs"),
        ([["x" * 100, {"k": "v" * 100}]], Datatype.BYTES, "data[0][1]", "… is not a string"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(value: Any, datatype: Datatype, field: str, message: str) -> None:
    seen, text = refusal(value, datatype, -1, -1)
    assert seen == field
    assert message in text


@pytest.mark.parametrize("datatype", list(Datatype))
@pytest.mark.parametrize("depth", [33, 65, 200, 300, 1000])
def test_deep_nesting_is_refused(datatype: Datatype, depth: int) -> None:
    leaf = {Datatype.BYTES: "a", Datatype.BOOL: True}.get(datatype, 1)
    assert refusal(nested(depth, leaf), datatype, -1, -1)[0] == "data"
    assert refusal(nested(depth, None), datatype, -1, -1)[0].startswith("data")
    with pytest.raises(InvalidInputError):
        read_flat_tensor("data", nested(depth, leaf), spec(datatype, -1), (1,))


@pytest.mark.parametrize("shape", [(1,) * 65, (2**63,), (-1, -1), (2**63, 0)])
def test_a_shape_that_no_array_has_is_refused(shape: tuple[int, ...]) -> None:
    value: list[int] = [] if 0 in shape else [1]
    with pytest.raises(InvalidInputError):
        read_flat_tensor("inputs[0].data", value, spec(Datatype.FP32, *shape), shape)


def test_a_wrong_shape_says_which_is_right() -> None:
    field, message = refusal([1, 2, 3, 4], Datatype.FP32, -1, 4)
    assert field == "data"
    assert "takes shape [-1, 4] (-1 is any length), data has shape [4]" in message
    assert "put it into [ ]" in message
    assert "data has shape [1, 3]" in refusal([[1, 2, 3]], Datatype.FP32, -1, 4)[1]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_empty_lists_and_scalars(datatype: Datatype) -> None:
    assert read_tensor("data", [], spec(datatype, -1)).shape == (0,)
    assert read_tensor("data", [[], []], spec(datatype, -1, -1)).shape == (2, 0)
    scalar = True if datatype is Datatype.BOOL else 1
    tensor = read_tensor("data", scalar, spec(datatype))
    assert (tensor.shape, json_values(tensor.array)) == ((), scalar)


CACHE = (-1, 2, -1, 4)


@pytest.mark.parametrize("datatype", list(Datatype))
@pytest.mark.parametrize(
    ("value", "wanted", "shape"),
    [
        ([[[], []]], CACHE, (1, 2, 0, 4)),
        ([[[], []], [[], []]], CACHE, (2, 2, 0, 4)),
        ([], (-1, 3), (0, 3)),
        ([[]], (1, 0, 5), (1, 0, 5)),
        ([], (-1, 0, 0), (0, 0, 0)),
    ],
)
def test_lists_end_at_an_empty_axis_and_the_rest_is_the_models(
    datatype: Datatype, value: Any, wanted: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    assert read_tensor("data", value, spec(datatype, *wanted)).shape == shape


@pytest.mark.parametrize(
    ("value", "wanted"), [([[[]]], CACHE), ([[]], CACHE), ([[[], []]], (-1, 2, 1, 4)), ([[[], [], []]], CACHE)]
)
def test_an_empty_axis_is_no_excuse_for_the_axes_before_it(value: Any, wanted: tuple[int, ...]) -> None:
    assert "data has shape" in refusal(value, Datatype.FP32, *wanted)[1]


def test_what_nobody_can_know_behind_an_empty_axis_is_not_guessed() -> None:
    field, message = refusal([[]], Datatype.FP32, -1, -1, -1)
    assert field == "data"
    assert "takes shape [-1, -1, -1]" in message
    assert "send it with its shape to /v2" in message


OPEN = TensorSpec("x", Datatype.FP32, (), any_shape=True)


@pytest.mark.parametrize(("value", "shape"), [(1, ()), ([1, 2], (2,)), ([[[1], [2]]], (1, 2, 1)), ([[], []], (2, 0))])
def test_an_input_of_any_shape_takes_what_comes(value: Any, shape: tuple[int, ...]) -> None:
    assert read_tensor("data", value, OPEN).shape == shape
    assert read_flat_tensor("data", through_json(np.zeros(shape).reshape(-1).tolist()), OPEN, shape).shape == shape


def test_even_any_shape_has_an_end() -> None:
    with pytest.raises(InvalidInputError, match="data has 33 dimensions, at most 32 are taken"):
        read_tensor("data", nested(33), OPEN)


def test_strings_keep_every_character() -> None:
    value = [["", "ü\u0000\U0001f600"], ['"', "NaN"]]
    assert json_values(read_tensor("data", value, spec(Datatype.BYTES, 2, 2)).array) == value


class TestSeveralInputs:
    specs = (spec(Datatype.FP32, -1, name="a"), spec(Datatype.INT64, -1, name="b"))

    def test_come_in_the_models_order(self) -> None:
        tensors = read_inputs({"b": [1], "a": [2]}, self.specs)
        assert [(tensor.name, tensor.array.tolist()) for tensor in tensors] == [("a", [2.0]), ("b", [1])]

    @pytest.mark.parametrize(
        ("data", "field", "message"),
        [
            ([1], "data", 'the model has 2 inputs; send an object: {"a": …, "b": …}'),
            ({"a": [1]}, "data.b", "input 'b' is missing; the inputs are 'a', 'b'"),
            ({"a": [1], "b": [1], "c": 1}, "data.c", "the model has no input 'c'; its inputs are 'a', 'b'"),
            ({"a": [1], "b": [0.5]}, "data.b[0]", "0.5 is not an integer, which INT64 needs"),
        ],
    )
    def test_are_named_when_wrong(self, data: Any, field: str, message: str) -> None:
        with pytest.raises(InvalidInputError) as caught:
            read_inputs(data, self.specs)
        assert (caught.value.field, str(caught.value)) == (field, message)

    def test_one_input_may_be_named_or_bare(self) -> None:
        (named,) = read_inputs({"a": [1]}, self.specs[:1])
        (bare,) = read_inputs([1], self.specs[:1])
        assert same(named.array, bare.array)


@pytest.mark.parametrize(("value", "shape"), [([1, 2], (3,)), ([[1, 2]], (2, 1)), ([1] * 6, (2, 2))])
def test_flat_data_must_fill_its_shape(value: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="input 'x'"):
        read_flat_tensor("inputs[0].data", value, spec(Datatype.FP32, *shape), shape)


def test_integers_are_always_finite() -> None:
    check_finite("data", Tensor("x", Datatype.INT8, np.array([1], dtype="i1")))


@pytest.mark.parametrize("rows", [[1], [[number] for number in range(50_000)]])
@pytest.mark.parametrize("broken", [False, True])
def test_the_garbage_collector_rests_no_longer_than_a_text_is_parsed(rows: Any, *, broken: bool) -> None:
    passes: list[str] = []

    def note(phase: str, _: object) -> None:
        passes.append(phase)

    text = orjson.dumps(rows)
    gc.callbacks.append(note)
    try:
        if broken:
            with pytest.raises(orjson.JSONDecodeError):
                load_json(text + b"]")
        else:
            assert load_json(text) == rows
    finally:
        gc.callbacks.remove(note)
    assert len(passes) <= 2 * 2  # it would be 70 times for the lists of this text
    assert gc.isenabled()
