"""Outputs become results: one object a row, lists of them, or tensors."""

import re
import tracemalloc
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from inferqueue_core.datatypes import Datatype, from_dtype
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_core.tensors import decode_envelope
from inferqueue_worker.batching import Batch, DecodedJob, decoded_job
from inferqueue_worker.errors import ResultTooLargeError
from inferqueue_worker.predictor import Output
from inferqueue_worker.result_sizes import DEFAULT_BYTES
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
    return [orjson.loads(text) for text in results(info, tuple(job(n, *names) for n in rows), outputs)]


def results(info: ModelInfo, batch: Batch, outputs: Mapping[str, Output], limit: int = DEFAULT_BYTES) -> list[bytes]:
    """Write the results of a batch, of which none may be too large."""
    found = ResultWriter(info, limit).write(batch, outputs)
    assert not [error for error in found if isinstance(error, ResultTooLargeError)]
    return [result for result in found if isinstance(result, bytes)]


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


@pytest.mark.parametrize(
    ("label", "classes", "labels", "name"),
    [
        (np.array([1]), ("a", "b", "c"), (1, 2, 3), "a"),
        (np.array([-1]), ("a", "b", "c"), (-1, 0, 1), "a"),
        (np.array([0]), ("a", "b", "c"), (1, 2, 3), None),
        (np.array([-1]), ("a", "b", "c"), (), None),
        (np.array([2]), (), (1, 2, 3), None),
        (np.array([True]), ("no", "yes"), (), "yes"),
        (np.array(["cat"], object), ("Katze", "Hund"), ("cat", "dog"), "Katze"),
        (np.array(["owl"], object), ("Katze", "Hund"), ("cat", "dog"), "owl"),
    ],
    ids=str,
)
def test_names_belong_to_labels(
    label: Any, classes: tuple[str, ...], labels: tuple[int | str, ...], name: str | None
) -> None:
    datatype = from_dtype(label.dtype)
    assert datatype is not None
    info = model(TensorSpec("label", datatype, (-1,)), PROBABILITIES, classes=classes, labels=labels)
    (one,) = written(info, {"label": label, "probabilities": SURE[:1]}, 1)
    assert (one["prediction"], one["class_name"]) == (label.tolist()[0], name)


MAPS = TensorSpec(name="probabilities", datatype=Datatype.BYTES, shape=(-1,))


@pytest.mark.parametrize(
    ("maps", "named", "expected"),
    [
        ({-1: 0.5, 1: 0.25}, {}, {"-1": 0.5, "1": 0.25}),
        ({"z": 0.5, "ä": 0.25}, {}, {"z": 0.5, "ä": 0.25}),
        ({-1: 0.5, 1: 0.25}, {"classes": ("no", "yes"), "labels": (-1, 1)}, {"no": 0.5, "yes": 0.25}),
        ({1: 0.5, 2: 0.25}, {"classes": ("cat", "cat"), "labels": (1, 2)}, {"1": 0.5, "2": 0.25}),
        ({0: 0.5, 1: 0.25}, {"classes": ("no", "yes")}, [0.5, 0.25]),
        ({1: 0.5, 0: 0.25}, {}, {"1": 0.5, "0": 0.25}),
    ],
    ids=str,
)
def test_maps_keep_their_keys(maps: Any, named: dict[str, Any], expected: Any) -> None:
    info = model(LABEL, MAPS, json_outputs=("probabilities",), **named)
    (one,) = written(info, {"label": np.array([1]), "probabilities": [maps]}, 1)
    assert one["probabilities"] == expected


WORDS = np.array(["cat", "dog", "owl"], dtype=object)
NAMES = TensorSpec("class_labels", Datatype.BYTES, (3,))


def test_a_constant_output_that_lists_the_classes_leaves_the_result_a_classifiers() -> None:
    info = model(LABEL, PROBABILITIES, NAMES, classes=tuple(WORDS), constant_outputs=("class_labels",))
    one, two = written(info, {"label": np.array([0, 2, 1]), "probabilities": SURE, "class_labels": WORDS}, 1, 2)
    assert one == {"prediction": 0, "class_name": "cat", "probabilities": [0.9, 0.1, 0.0]}
    assert [row["class_name"] for row in two] == ["owl", "dog"]


def test_every_row_gets_the_whole_of_other_constants() -> None:
    info = model(LABEL, PROBABILITIES, TensorSpec("t", Datatype.FP32, (2,)), constant_outputs=("t",))
    outputs = {"label": np.array([0, 2]), "probabilities": SURE[:2], "t": np.array([0.5, 1], np.float32)}
    ((one, two),) = written(info, outputs, 2)
    assert (one["prediction"], one["t"]) == (0, [0.5, 1.0])
    assert (two["prediction"], two["t"]) == (2, [0.5, 1.0])


def test_constants_beside_rows_are_whole() -> None:
    info = model(NAMES, Y, constant_outputs=("class_labels",))
    outputs = {"class_labels": WORDS, "y": np.array([[1, 2], [3, 4]], np.float32)}
    one, two = written(info, outputs, 1, 1)
    assert one == {"y": [1.0, 2.0], "class_labels": ["cat", "dog", "owl"]}
    assert two == {"y": [3.0, 4.0], "class_labels": ["cat", "dog", "owl"]}
    jobs = (job(1, "class_labels", "y", as_json=False), job(1, "class_labels", as_json=False))
    envelopes = [decode_envelope(result) for result in results(info, jobs, outputs)]
    assert [envelope.tensors[0].array.tolist() for envelope in envelopes] == [WORDS.tolist()] * 2


def test_a_model_of_constants_alone_answers_each_row() -> None:
    info = model(NAMES, constant_outputs=("class_labels",))
    one, two = written(info, {"class_labels": WORDS}, 1, 2)
    assert one == {"class_labels": ["cat", "dog", "owl"]}
    assert two == [one, one]


def test_labels_that_turn_out_to_be_no_list_are_told_as_they_are() -> None:
    info = model(TensorSpec("label", Datatype.INT64, (), any_shape=True), PROBABILITIES)
    (one,) = written(info, {"label": np.array([[1, 2]]), "probabilities": SURE[:1]}, 1)
    assert one == {"label": [1, 2], "probabilities": [0.9, 0.1, 0.0]}


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
        (np.zeros((2, 0, 4), np.float32), [[], []]),
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
    first, second = (decode_envelope(result) for result in results(model(Y, TEXT), jobs, outputs))
    assert [tensor.name for tensor in second.tensors] == ["text", "y"]
    assert second.tensors[0].array.tolist() == ["b", "c"]
    np.testing.assert_array_equal(second.tensors[1].array, [[2, 3], [4, 5]])
    assert first.tensors[0].array.tolist() == ["a"]


def test_maps_in_an_envelope_are_json_texts() -> None:
    maps = TensorSpec(name="maps", datatype=Datatype.BYTES, shape=(-1,))
    jobs = (job(1, "maps", as_json=False), job(1, "maps", as_json=False))
    found = results(model(maps, json_outputs=("maps",)), jobs, {"maps": [{0: 0.5}, {0: 0.25}]})
    texts = [decode_envelope(result).tensors[0].array.tolist() for result in found]
    assert texts == [['{"0":0.5}'], ['{"0":0.25}']]


def test_json_and_envelopes_of_one_run_get_their_own_rows() -> None:
    outputs = {"y": np.array([[1, 2], [3, 4]], np.float32)}
    text, binary = results(model(Y), (job(1, "y"), job(1, "y", as_json=False)), outputs)
    assert orjson.loads(text) == {"y": [1.0, 2.0]}
    np.testing.assert_array_equal(decode_envelope(binary).tensors[0].array, [[3, 4]])


LONG_SPEC = TensorSpec("long", Datatype.FP32, (-1, 100))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u8", "?"])
@pytest.mark.parametrize("batchable", [True, False])
def test_long_values_are_written_as_short_ones_are(dtype: str, *, batchable: bool) -> None:
    """Long rows take another way to JSON; what a client reads is the same."""
    random = np.random.default_rng(7)
    array = (random.normal(size=(3, 100)) * 100).astype(dtype)[:, ::-1]
    (one,) = written(model(LONG_SPEC, batchable=batchable), {"long": array}, 3)
    expected = to_json(array)
    assert ([row["long"] for row in one] if batchable else one["long"]) == expected


def test_long_values_may_hold_what_json_lacks() -> None:
    array = np.full((1, 100), np.nan, np.float32)
    (one,) = written(model(LONG_SPEC), {"long": array}, 1)
    assert one["long"] == ["NaN"] * 100


FLAT = TensorSpec("y", Datatype.FP32, (-1,))


@pytest.mark.parametrize("as_json", [True, False])
def test_a_result_above_the_limit_is_refused_with_both_numbers(*, as_json: bool) -> None:
    info = model(FLAT, batchable=False)
    outputs: dict[str, Output] = {"y": np.full(250_000, 1.5, np.float32)}
    (refused,) = ResultWriter(info, 999_999).write((job(1, "y", as_json=as_json),), outputs)
    assert isinstance(refused, ResultTooLargeError)
    numbers = "1,0..,... bytes are more than 999,999, the limit" if as_json else "1,000,000 bytes are more than 999,999"
    assert re.search(numbers, str(refused)), refused
    assert "(MAX_RESULT_BYTES); ask for fewer outputs or rows" in str(refused)


@pytest.mark.parametrize("rows", [1, 1000])
@pytest.mark.parametrize("as_json", [True, False])
def test_the_last_byte_counts(*, rows: int, as_json: bool) -> None:
    info, batch = model(FLAT, batchable=rows > 1), (job(rows, "y", as_json=as_json),)
    outputs: dict[str, Output] = {"y": np.arange(1000, dtype=np.float32)}
    (text,) = results(info, batch, outputs)
    assert results(info, batch, outputs, len(text)) == [text]
    (refused,) = ResultWriter(info, len(text) - 1).write(batch, outputs)
    assert isinstance(refused, ResultTooLargeError)


def test_a_job_with_too_large_a_result_costs_its_neighbours_nothing() -> None:
    outputs: dict[str, Output] = {"y": np.arange(202, dtype=np.float32).reshape(101, 2)}
    batch = (job(1, "y"), job(99, "y"), job(1, "y", as_json=False))
    first, second, third = ResultWriter(model(Y), 1000).write(batch, outputs)
    assert isinstance(first, bytes)
    assert orjson.loads(first) == {"y": [0.0, 1.0]}
    assert isinstance(second, ResultTooLargeError)
    assert isinstance(third, bytes)
    assert decode_envelope(third).tensors[0].array.tolist() == [[200.0, 201.0]]


def test_only_the_outputs_that_were_asked_for_count() -> None:
    outputs: dict[str, Output] = {"y": np.zeros((1, 2), np.float32), "text": np.array(["x" * 1000], object)}
    small, large = (job(1, name, as_json=False) for name in ("y", "text"))
    first, second = ResultWriter(model(Y, TEXT), 500).write((small,), outputs) + ResultWriter(
        model(Y, TEXT), 500
    ).write((large,), outputs)
    assert isinstance(first, bytes)
    assert isinstance(second, ResultTooLargeError)


def test_what_was_refused_is_let_go() -> None:
    array = np.zeros(1000, np.float32)
    gone = weakref.ref(array)
    refused = ResultWriter(model(FLAT, batchable=False), 10).write((job(1, "y"),), {"y": array})
    del array
    assert gone() is None
    assert len(refused) == 1


MANY = 2 * 1024 + 3
EACH_FORM: dict[str, tuple[ModelInfo, dict[str, Output]]] = {
    "rows": (model(Y), {"y": np.arange(2 * MANY, dtype=np.float32).reshape(MANY, 2)}),
    "classifier": (IRIS, {"label": np.arange(MANY) % 3, "probabilities": SURE[np.arange(MANY) % 3]}),
    "maps": (
        model(LABEL, MAPS, json_outputs=("probabilities",)),
        {"label": np.arange(MANY) % 2, "probabilities": [{"a": n / 8, "b": 0.5} for n in range(MANY)]},
    ),
    "constant": (
        model(Y, NAMES, constant_outputs=("class_labels",)),
        {"y": np.arange(2.0 * MANY, dtype=np.float32).reshape(MANY, 2), "class_labels": WORDS},
    ),
    "what JSON lacks": (model(FLAT), {"y": np.where(np.arange(MANY) % 1000, np.float32(0.1), np.float32("nan"))}),
    "whole": (model(FLAT, batchable=False), {"y": np.arange(MANY, dtype=np.float32)}),
}


@pytest.mark.parametrize("limit", [DEFAULT_BYTES, 300_000])
@pytest.mark.parametrize("form", EACH_FORM)
def test_many_rows_are_written_like_few(form: str, limit: int) -> None:
    info, outputs = EACH_FORM[form]
    names = tuple(outputs)
    (many,) = results(info, (job(MANY, *names),), outputs, limit)
    if not info.batchable:
        assert orjson.loads(many) == {"y": list(range(MANY))}
        return
    rows = orjson.loads(many)
    assert len(rows) == MANY
    for start in range(0, MANY, 1000):
        few = {
            name: value if name in info.constant_outputs else value[start : start + 1000]
            for name, value in outputs.items()
        }
        (text,) = results(info, (job(len(few[names[0]]), *names),), few)
        assert rows[start : start + 1000] == orjson.loads(text)


def test_many_rows_take_little_memory_beside_their_text() -> None:
    rows = 100_000
    outputs: dict[str, Output] = {"y": np.ones((rows, 2), np.float32)}
    tracemalloc.start()
    try:
        (text,) = results(model(Y), (job(rows, "y"),), outputs)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(text)
    finally:
        tracemalloc.stop()
