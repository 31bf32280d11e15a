"""What workers publish of a model comes back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import ModelInfo, TensorSpec

specs = st.builds(
    TensorSpec,
    name=st.text(max_size=9),
    datatype=st.sampled_from(list(Datatype)),
    shape=st.lists(st.integers(-1, 9), max_size=4).map(tuple),
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
)


@given(models)
def test_a_model_comes_back_from_json(model: ModelInfo) -> None:
    assert ModelInfo.from_json(model.to_json().encode()) == model


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"name": 1}', b"\xff"])
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValidationError):
        ModelInfo.from_json(text)
