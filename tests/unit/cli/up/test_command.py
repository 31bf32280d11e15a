"""What `up` says before and after the start."""

import pytest

from inferqueue.up.command import example
from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import ModelInfo, TensorSpec


def model(*shapes: tuple[int, ...], datatype: Datatype = Datatype.FP32) -> ModelInfo:
    inputs = tuple(TensorSpec(name=f"x{n}", datatype=datatype, shape=shape) for n, shape in enumerate(shapes))
    return ModelInfo(name="m", version="1", queue="q", inputs=inputs, outputs=())


@pytest.mark.parametrize(
    ("info", "data"),
    [
        (model((-1, 3)), "[[0.0,0.0,0.0]]"),
        (model(()), "0.0"),
        (model((-1, 3, 224, 224)), "…"),
        (model((1,), (1,)), "…"),
        (model((-1, 2), datatype=Datatype.BYTES), "…"),
        (None, "…"),
    ],
)
def test_the_example_fits_the_model(info: ModelInfo | None, data: str) -> None:
    assert example("m", info) == data


def test_the_example_of_iris_is_a_flower() -> None:
    assert example("iris", None) == "[[5.1,3.5,1.4,0.2]]"
