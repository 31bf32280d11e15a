"""What workers publish of a model comes back as it was."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import ModelInfo, TensorSpec

specs = st.builds(
    TensorSpec,
    name=st.text(max_size=9),
    datatype=st.sampled_from(list(Datatype)),
    shape=st.lists(st.integers(-1, 9), max_size=4).map(tuple),
    any_shape=st.booleans(),
)
models = st.builds(
    ModelInfo,
    name=st.text(max_size=9),
    version=st.just("1"),
    queue=st.just("q"),
    inputs=st.lists(specs, max_size=2).map(tuple),
    outputs=st.lists(specs, max_size=2).map(tuple),
    batchable=st.booleans(),
    finite=st.booleans(),
    classes=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    labels=st.lists(st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1), max_size=3).map(tuple),
    constant_outputs=st.lists(st.text(max_size=5), max_size=2).map(tuple),
)


@given(models)
def test_a_model_comes_back_from_json(model: ModelInfo) -> None:
    assert ModelInfo.from_json(model.to_json()) == model


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "required field `name`"),
        (b'{"name": 1}', "Expected `str`, got `int`"),
        (b"\xff", "malformed"),
        (b'{"name": "\xff"}', "utf-8"),
        (b'{"invented_later": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_anything_else_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ModelInfo.from_json(text)


def test_a_tensor_may_be_described_in_plain_words() -> None:
    spec = TensorSpec(name="x", datatype="FP32", shape=[-1, 4])  # type: ignore[arg-type]
    assert spec == TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 4))
    with pytest.raises(ValueError, match="FP31"):
        TensorSpec(name="x", datatype="FP31", shape=())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integer"):
        TensorSpec(name="x", datatype=Datatype.FP32, shape=("n",))  # type: ignore[arg-type]


def test_any_shape_is_told_as_any_length() -> None:
    assert TensorSpec("x", Datatype.FP32, (), any_shape=True).metadata_shape == (-1,)
    assert TensorSpec("x", Datatype.FP32, ()).metadata_shape == ()


LOGITS = TensorSpec("logits", Datatype.FP32, (-1, 2))


@pytest.mark.parametrize(
    ("fields", "output", "names"),
    [
        ({"classes": ("no", "yes")}, LOGITS, ("no", "yes")),
        ({"classes": ("no", "yes"), "labels": (-1, 1)}, LOGITS, ("no", "yes")),
        ({"labels": (-1, 1)}, LOGITS, ("-1", "1")),
        ({}, LOGITS, ()),
        ({"classes": ("a", "b", "c")}, LOGITS, ()),
        ({"classes": ("no", "yes"), "constant_outputs": ("logits",)}, LOGITS, ()),
        ({"classes": ("no", "yes")}, TensorSpec("label", Datatype.INT64, (2,)), ()),
        ({"classes": ("no", "yes")}, TensorSpec("any", Datatype.FP32, (), any_shape=True), ()),
    ],
)
def test_the_classes_of_an_output_are_those_along_its_last_axis(
    fields: dict[str, Any], output: TensorSpec, names: tuple[str, ...]
) -> None:
    model = ModelInfo("m", "1", "q", (), (output,), **fields)
    assert model.classes_of(output) == names
