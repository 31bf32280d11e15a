from msgspec.structs import replace

from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_proxy.model_config import model_config

MODEL = ModelInfo(
    name="m",
    version="3",
    queue="q",
    inputs=(TensorSpec("text", Datatype.BYTES, (-1,)), TensorSpec("image", Datatype.UINT8, (-1, -1, 3))),
    outputs=(TensorSpec("p", Datatype.FP32, (-1, 10)),),
    batchable=True,
    max_rows=64,
)


def test_a_model_with_batches_has_shapes_without_them() -> None:
    config = model_config(MODEL)
    assert (config["name"], config["platform"], config["backend"]) == ("m", "onnxruntime_onnx", "onnxruntime")
    assert config["max_batch_size"] == 64
    assert [(tensor["data_type"], tensor["dims"]) for tensor in config["input"]] == [
        ("TYPE_STRING", [1]),
        ("TYPE_UINT8", [-1, 3]),
    ]
    assert [(tensor["data_type"], tensor["dims"]) for tensor in config["output"]] == [("TYPE_FP32", [10])]
    assert config["input"][0]["reshape"] == {"shape": []}
    assert config["version_policy"] == {"specific": {"versions": [3]}}


def test_any_other_model_has_whole_shapes() -> None:
    whole = (TensorSpec("constant", Datatype.FP32, (10,)), *MODEL.outputs)
    for model in (replace(MODEL, batchable=False), replace(MODEL, outputs=whole)):
        config = model_config(model)
        assert config["max_batch_size"] == 0
        assert [tensor["dims"] for tensor in config["input"]] == [[-1], [-1, -1, 3]]
        assert "dynamic_batching" not in config


def test_a_predictor_of_ones_own_is_pythons() -> None:
    assert model_config(replace(MODEL, platform="custom"))["backend"] == "python"
