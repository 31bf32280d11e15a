"""Files that cannot be served are refused at load with the reason and the way out."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from inferqueue_worker.check import check
from inferqueue_worker.errors import BadInputError, ModelLoadError
from inferqueue_worker.onnx_predictor import json_can_hold
from inferqueue_worker.predictor import RunControl
from inferqueue_worker.served_model import load_model
from support.onnx_models import (
    FLOAT,
    IR_VERSION,
    array_classifier,
    doubling,
    make,
    sequence_output,
    store,
    unary,
    value,
    without_shapes,
    zipmap_classifier,
)
from support.served import load


def unknown_operator() -> ModelProto:
    return unary("Frobnicate")


def optional_input() -> ModelProto:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, ["n"]))
    node = helper.make_node("OptionalGetElement", ["x"], ["y"])
    return make([node], [helper.make_value_info("x", kind)], [value("y", FLOAT, ["n"])], opset=18)


def sparse_input() -> ModelProto:
    node = helper.make_node("Identity", ["x"], ["y"])
    sparse = helper.make_sparse_tensor_value_info("x", FLOAT, [3, 3])
    return make([node], [sparse], [helper.make_sparse_tensor_value_info("y", FLOAT, [3, 3])])


def missing_weights() -> bytes:
    weights = onnx.numpy_helper.from_array(np.ones(2, np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    ends = [value("x", FLOAT, ["n", 2])], [value("y", FLOAT, ["n", 2])]
    graph = helper.make_graph([node], "test", *ends, [weights])
    opsets = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return model


def too_new_ir() -> ModelProto:
    model = doubling()
    model.ir_version = 99
    return model


def too_new_opset() -> ModelProto:
    model = doubling()
    model.opset_import[0].version = 99
    return model


REFUSED = {
    "empty file": (b"", "No graph was found.*The file is damaged or is no ONNX model"),
    "no protobuf": (b"this is no model", "The file is damaged or is no ONNX model"),
    "cut off": (doubling().SerializeToString()[:-9], "The file is damaged or is no ONNX model"),
    "IR too new": (too_new_ir(), "Unsupported model IR version: 99.*Save the model with an older IR version"),
    "opset too new": (
        too_new_opset(),
        "Opset 99 is under.*Export the model with a lower target_opset",
    ),
    "unknown operator": (unknown_operator(), "Frobnicate.*has no such operator"),
    "missing weights": (missing_weights(), "The weights must lie beside the model file"),
    "bfloat16 input": (unary("Identity", kind=TensorProto.BFLOAT16), r"input 'x' is tensor\(bfloat16\)"),
    "float8 input": (
        make(
            [helper.make_node("Cast", ["x"], ["y"], to=FLOAT)],
            [value("x", TensorProto.FLOAT8E4M3FN, ["n"])],
            [value("y", FLOAT, ["n"])],
            opset=19,
        ),
        r"input 'x' is tensor\(float8e4m3fn\)",
    ),
    "optional input": (optional_input(), r"input 'x' is optional\(tensor\(float\)\)"),
    "sparse input": (sparse_input(), "sparse|SparseTensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_served_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    model, reason = REFUSED[name]
    with pytest.raises(ModelLoadError) as refusal:
        load(tmp_path, model)
    message = str(refusal.value)
    assert re.search(reason, message), message
    assert str(tmp_path / "model" / "1" / "model.onnx") in message
    assert "\n" not in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    files = store(tmp_path, doubling())
    files.path.chmod(0)
    with pytest.raises(ModelLoadError):
        load_model(files, None, 1)


def test_a_refused_input_is_named_with_what_was_wrong(tmp_path: Path) -> None:
    predictor = load(tmp_path, doubling()).predictor
    with pytest.raises(BadInputError, match=r"x .*Got: 3 Expected: 2"):
        predictor.predict({"x": np.zeros((1, 3), np.float32)}, ["y"], RunControl())


@pytest.mark.parametrize(
    ("onnx_type", "can"),
    [
        ("seq(map(int64,tensor(float)))", True),
        ("seq(map(string,tensor(double)))", True),
        ("map(int64,tensor(float))", True),
        ("seq(tensor(string))", True),
        ("seq(seq(tensor(float)))", True),
        ("tensor(bfloat16)", False),
        ("seq(tensor(float8e5m2))", False),
        ("optional(tensor(float))", False),
        ("map(double,tensor(float))", False),
        ("sparse_tensor(float)", False),
    ],
)
def test_what_json_can_hold(onnx_type: str, *, can: bool) -> None:
    assert json_can_hold(onnx_type) is can


def test_a_sequence_is_published_as_texts(tmp_path: Path) -> None:
    info = load(tmp_path, sequence_output()).info("predict_queue")
    assert info.json_outputs == ("y",)
    assert (info.outputs[0].datatype, info.outputs[0].shape) == ("BYTES", (-1,))


def test_an_input_without_a_shape_takes_any(tmp_path: Path) -> None:
    info = load(tmp_path, without_shapes()).info("predict_queue")
    assert [(spec.any_shape, spec.shape) for spec in (*info.inputs, *info.outputs)] == [(True, ())] * 2
    assert not info.batchable


def test_an_input_that_is_a_scalar_is_one(tmp_path: Path) -> None:
    info = load(tmp_path, doubling(())).info("predict_queue")
    assert [(spec.any_shape, spec.shape) for spec in (*info.inputs, *info.outputs)] == [(False, ())] * 2


def test_a_model_without_shapes_is_measured_on_rows(tmp_path: Path) -> None:
    """What a scalar would not do: Softmax needs an axis."""
    trial = load(tmp_path, without_shapes("Softmax")).trial
    assert trial.reason == "the model gives input 'x' no shape"
    assert trial.timings


@pytest.mark.parametrize("labels", [(1, 2, 3), (-1, 0, 1), ("B", "z", "ä")], ids=str)
@pytest.mark.parametrize("converted", [array_classifier, zipmap_classifier])
def test_the_labels_of_a_classifier_are_published(
    tmp_path: Path, converted: Callable[..., bytes], labels: tuple[int | str, ...]
) -> None:
    info = load(tmp_path, converted(labels)).info("predict_queue")
    assert info.labels == labels
    assert info.classes == (labels if isinstance(labels[0], str) else ())


def test_check_says_what_a_model_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path, doubling(), "double")
    assert check("double", tmp_path) == 0
    said = capsys.readouterr().out
    assert "input   x: FP32 [-1, 2]" in said
    assert "batches: yes, the graph keeps rows apart, and rows run together give what they give alone" in said
    assert "rows/s" in said


@pytest.mark.parametrize(
    ("labels", "config", "line"),
    [
        ((1, 2, 3), "classes: [a, b, c]", "classes a (1), b (2), c (3)"),
        ((0, 1, 2), "classes: [a, b, c]", "classes a, b, c"),
        ((1, 2, 3), "", "classes 1, 2, 3"),
        (("B", "z", "ä"), "", "classes B, z, ä"),
    ],
    ids=str,
)
def test_check_says_which_class_is_which(
    tmp_path: Path, labels: tuple[int | str, ...], config: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, array_classifier(labels), config=config)
    assert check("model", tmp_path) == 0
    assert f"  {line}\n" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["double/1/model.onnx", "double/1", "double"])
def test_check_takes_a_path(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, doubling(), "double")
    monkeypatch.chdir(tmp_path / place if (tmp_path / place).is_dir() else tmp_path)
    assert check("." if (tmp_path / place).is_dir() else place, Path("elsewhere")) == 0
    assert "double" in capsys.readouterr().out


def test_check_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path, b"this is no model", "broken")
    assert check("broken", tmp_path) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
