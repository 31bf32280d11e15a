"""Outputs become results: one object a row, lists of them, or tensors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_core.tensors import decode_envelope
from inferqueue_worker.batching import DecodedJob, decoded_job
from inferqueue_worker.predictor import Output
from inferqueue_worker.results import ResultWriter, classifier_outputs, to_json
from support.served import claimed

LABEL = TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,))
PROBABILITIES = TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 3))
Y = TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 2))
TEXT = TensorSpec(name="text", datatype=Datatype.BYTES, shape=(-1,))


def model(*outputs: TensorSpec, batchable: bool = True, **fields: Any) -> ModelInfo:
    return ModelInfo(name="m", version="1", queue="q", inputs=(), outputs=outputs, batchable=batchable, **fields)


def job(rows: int, *outputs: str, as_json: bool = True) -> DecodedJob:
    return decoded_job(claimed(0), {"x": np.zeros((rows, 1), np.float32)}, outputs, as_json=as_json)


def written(info: ModelInfo, outputs: Mapping[str, Output], *rows: int) -> list[Any]:
    names = tuple(spec.name for spec in info.outputs)
    return [orjson.loads(text) for text in ResultWriter(info).write(tuple(job(n, *names) for n in rows), outputs)]


IRIS = model(LABEL, PROBABILITIES, classes=("setosa", "versicolor", "virginica"))
SURE = np.array([[0.9, 0.1, 0], [0, 0.25, 0.75], [0.5, 0.5, 0]], np.float32)


def test_a_classifier_names_its_class() -> None:
    one, two = written(IRIS, {"label": np.array([0, 2, 1]), "probabilities": SURE}, 1, 2)
    assert one == {"prediction": 0, "class_name": "setosa", "probabilities": [0.9, 0.1, 0.0]}
    assert [row["class_name"] for row in two] == ["virginica", "versicolor"]


def test_a_label_beyond_the_classes_has_no_name() -> None:
    (one,) = written(model(LABEL, PROBABILITIES), {"label": np.array([7]), "probabilities": SURE[:1]}, 1)
    assert (one["prediction"], one["class_name"]) == (7, None)


def test_probabilities_in_maps_are_a_list() -> None:
    maps = TensorSpec(name="probabilities", datatype=Datatype.BYTES, shape=(-1,))
    info = model(LABEL, maps, json_outputs=("probabilities",))
    (one,) = written(info, {"label": np.array([1]), "probabilities": [{0: 0.1, 1: float(np.float32(0.9))}]}, 1)
    assert one["probabilities"] == [0.1, 0.9]


def test_a_label_that_is_text_is_its_own_name() -> None:
    label = TensorSpec(name="label", datatype=Datatype.BYTES, shape=(-1,))
    outputs = {"label": np.array(["spam"], dtype=object), "probabilities": SURE[:1]}
    (one,) = written(model(label, PROBABILITIES), outputs, 1)
    assert (one["prediction"], one["class_name"]) == ("spam", "spam")


@pytest.mark.parametrize(
    "info",
    [
        model(Y),
        model(LABEL, Y),
        model(LABEL, PROBABILITIES, Y),
        model(LABEL, PROBABILITIES, batchable=False),
        model(PROBABILITIES, LABEL),
        model(TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1, 1)), PROBABILITIES),
    ],
)
def test_what_is_no_classifier(info: ModelInfo) -> None:
    assert classifier_outputs(info) is None


def test_classes_make_a_classifier_of_any_names() -> None:
    info = model(TensorSpec(name="kind", datatype=Datatype.INT64, shape=(-1,)), Y, classes=("a", "b"))
    assert classifier_outputs(info) is not None


def test_other_models_answer_by_output_name() -> None:
    outputs = {"y": np.array([[1, 2], [3, 4]], np.float32), "text": np.array(["ä", ""], dtype=object)}
    one, two = written(model(Y, TEXT), outputs, 1, 1)
    assert one == {"y": [1.0, 2.0], "text": "ä"}
    assert two == {"y": [3.0, 4.0], "text": ""}


def test_numbers_that_json_lacks_are_strings() -> None:
    (one,) = written(model(Y), {"y": np.array([[np.nan, -np.inf]], np.float32)}, 1)
    assert one == {"y": ["NaN", "-Infinity"]}


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array(2**64 - 1, np.uint64), 2**64 - 1),
        (np.array(-(2**63), np.int64), -(2**63)),
        (np.array(0.1, np.float16), 0.099975586),
        (np.array(0.1, np.float32), 0.1),
        (np.array([True, False]), [True, False]),
        ({1: np.float32(0.5), "a": [1, "b"]}, {"1": 0.5, "a": [1, "b"]}),
        ([np.zeros((0,)), np.ones((1, 1))], [[], [[1.0]]]),
    ],
)
def test_values_keep_what_they_are(array: Output, expected: Any) -> None:
    assert orjson.loads(orjson.dumps(to_json(array))) == expected


def test_a_model_that_is_not_batched_answers_with_whole_values() -> None:
    info = model(Y, TensorSpec(name="n", datatype=Datatype.INT64, shape=()), batchable=False)
    (one,) = written(info, {"y": np.array([[1, 2], [3, 4]], np.float32), "n": np.array(5)}, 2)
    assert one == {"y": [[1.0, 2.0], [3.0, 4.0]], "n": 5}


def test_an_envelope_holds_the_rows_and_outputs_that_its_job_asked_for() -> None:
    outputs = {"text": np.array(["a", "b", "c"], dtype=object), "y": np.arange(6, dtype=np.float32).reshape(3, 2)}
    jobs = (job(1, "text", "y", as_json=False), job(2, "text", "y", as_json=False))
    first, second = (decode_envelope(result) for result in ResultWriter(model(Y, TEXT)).write(jobs, outputs))
    assert [tensor.name for tensor in second.tensors] == ["text", "y"]
    assert second.tensors[0].array.tolist() == ["b", "c"]
    np.testing.assert_array_equal(second.tensors[1].array, [[2, 3], [4, 5]])
    assert first.tensors[0].array.tolist() == ["a"]


def test_maps_in_an_envelope_are_json_texts() -> None:
    maps = TensorSpec(name="maps", datatype=Datatype.BYTES, shape=(-1,))
    jobs = (job(1, "maps", as_json=False), job(1, "maps", as_json=False))
    results = ResultWriter(model(maps, json_outputs=("maps",))).write(jobs, {"maps": [{0: 0.5}, {0: 0.25}]})
    texts = [decode_envelope(result).tensors[0].array.tolist() for result in results]
    assert texts == [['{"0":0.5}'], ['{"0":0.25}']]


def test_json_and_envelopes_of_one_run_get_their_own_rows() -> None:
    outputs = {"y": np.array([[1, 2], [3, 4]], np.float32)}
    text, binary = ResultWriter(model(Y)).write((job(1, "y"), job(1, "y", as_json=False)), outputs)
    assert orjson.loads(text) == {"y": [1.0, 2.0]}
    np.testing.assert_array_equal(decode_envelope(binary).tensors[0].array, [[3, 4]])
