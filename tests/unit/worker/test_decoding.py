"""Jobs become arrays; a job that does not fit fails alone, with the field in its message."""

from typing import Any

import numpy as np
import orjson
import pytest

from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_core.tensors import MAGIC, Envelope, Tensor, encode_envelope
from inferqueue_worker.decoding import decode_jobs
from support.served import claimed


def model(*inputs: TensorSpec, batchable: bool = True, finite: bool = False) -> ModelInfo:
    outputs = (
        TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1,)),
        TensorSpec(name="z", datatype=Datatype.FP32, shape=(-1,)),
    )
    return ModelInfo(
        name="m", version="1", queue="q", inputs=inputs, outputs=outputs, batchable=batchable, finite=finite
    )


ROWS = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 2))
FLAGS = TensorSpec(name="flags", datatype=Datatype.BOOL, shape=(-1,))
ONE = model(ROWS)
TWO = model(ROWS, FLAGS)


def error_of(data: Any, of: ModelInfo = ONE) -> str:
    decoded, (failed,) = decode_jobs([claimed(data)], of)
    assert decoded == []
    return failed.error


def envelope(*tensors: Tensor, outputs: tuple[str, ...] | None = None) -> bytes:
    return encode_envelope(Envelope(tensors, outputs))


X = Tensor("x", Datatype.FP32, np.array([[1, 2], [3, 4]], np.float32))


def test_jobs_of_rows_keep_their_own() -> None:
    jobs = [claimed([[1, 2]], 1), claimed([[3, 4], [5, 6]], 2), claimed([["NaN", 7.5]], 3)]
    decoded, failed = decode_jobs(jobs, ONE)
    assert failed == []
    assert [job.job for job in decoded] == jobs
    expected = [[[1, 2]], [[3, 4], [5, 6]], [[np.nan, 7.5]]]
    for job, rows in zip(decoded, expected, strict=True):
        np.testing.assert_array_equal(job.inputs["x"], np.array(rows, np.float32))
        assert job.as_json
        assert job.outputs == ("y", "z")


def test_one_bad_job_fails_alone() -> None:
    jobs = [claimed([[1, 2]], 1), claimed([[1, 2, 3]], 2), claimed([[5, 6]], 3)]
    decoded, (failed,) = decode_jobs(jobs, ONE)
    assert [job.job for job in decoded] == [jobs[0], jobs[2]]
    assert failed.job == jobs[1]
    assert "takes shape [-1, 2]" in failed.error


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "data: it is neither JSON nor a tensor envelope"),
        (b"", "data: it is neither JSON nor a tensor envelope"),
        (b"\xff\xfe", "data: it is neither JSON nor a tensor envelope"),
        ([1, 2], "put it into [ ]"),
        ([[1, 2], [3]], "the rows differ in length"),
        ([], "it has no rows"),
        ([["a", 2]], 'data[0][0]: "a" is not a number'),
        ([[None, 2]], "data[0][0]: null is not a number"),
        ([[True, 2]], "data[0][0]: true is not a number"),
        ({"w": [[1, 2]]}, "data.w: the model has no input 'w'; its inputs are 'x'"),
        ({}, "data.x: input 'x' is missing"),
        (None, "data: null is not a number"),
        ([[1e39, 0]], "a number is too large for FP32"),
        (orjson.dumps([[[]]]), "shape"),
        (b"[" * 1000 + b"]" * 1000, "data: "),
        (b"[" * 100_000, "data: "),
    ],
)
def test_json_that_does_not_fit_is_refused(data: Any, message: str) -> None:
    assert message in error_of(data)


def test_several_inputs_are_an_object() -> None:
    (job,), failed = decode_jobs([claimed({"flags": [True], "x": [[1, 2]]})], TWO)
    assert failed == []
    assert list(job.inputs) == ["x", "flags"]
    assert "send an object" in error_of([[1, 2]], TWO)


def test_rows_of_several_inputs_must_agree() -> None:
    assert "different numbers of rows" in error_of({"flags": [True, False], "x": [[1, 2]]}, TWO)


def test_no_rows_are_refused_where_rows_count() -> None:
    no_rows = Tensor("x", Datatype.FP32, np.zeros((0, 2), np.float32))
    assert "it has no rows" in error_of(envelope(no_rows))
    decoded, _ = decode_jobs([claimed(envelope(no_rows))], model(ROWS, batchable=False))
    assert decoded[0].inputs["x"].shape == (0, 2)


def test_a_model_of_finite_numbers_refuses_the_others() -> None:
    finite = model(ROWS, finite=True)
    assert "must be finite" in error_of([["NaN", 1]], finite)
    infinite = Tensor("x", Datatype.FP32, np.array([[np.inf, 1]], np.float32))
    assert "must be finite" in error_of(envelope(infinite), finite)


def test_an_envelope_is_decoded_with_the_outputs_it_asks_for() -> None:
    decoded, failed = decode_jobs([claimed(envelope(X, outputs=("z",)), 1), claimed(envelope(X), 2)], ONE)
    assert failed == []
    assert [job.outputs for job in decoded] == [("z",), ("y", "z")]
    assert not any(job.as_json for job in decoded)
    np.testing.assert_array_equal(decoded[0].inputs["x"], X.array)


def test_json_and_envelopes_may_come_together() -> None:
    decoded, failed = decode_jobs([claimed([[1, 2]], 1), claimed(envelope(X), 2)], ONE)
    assert failed == []
    assert [job.as_json for job in decoded] == [True, False]


def damaged(header: Any, body: bytes = b"") -> bytes:
    text = orjson.dumps(header)
    return MAGIC + len(text).to_bytes(4, "little") + text + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (envelope(Tensor("x", Datatype.FP64, X.array.astype(np.float64))), "input 'x' must be there as FP32"),
        (envelope(Tensor("w", Datatype.FP32, X.array)), "input 'x' must be there as FP32"),
        (envelope(Tensor("x", Datatype.FP32, X.array.reshape(4))), "takes shape [-1, 2]"),
        (envelope(X, outputs=("w",)), "outputs: the model has no output 'w'; its outputs are y, z"),
        (envelope(X)[:-3], "the tensor envelope is damaged: it ends inside tensor 'x'"),
        (MAGIC, "the tensor envelope is damaged"),
        (MAGIC + b"\xff\xff\xff\xff{}", "the tensor envelope is damaged"),
        (damaged([]), "the tensor envelope is damaged"),
        (damaged({"tensors": [], "outputs": 5}), "data: "),
        (damaged({"tensors": [{"name": ["x"], "datatype": "FP32", "shape": [0, 2], "size": 0}], "outputs": None}), ""),
        (damaged({"tensors": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "size": 0}], "outputs": None}), ""),
        (damaged({"tensors": [{"name": "x", "datatype": "FP32", "shape": ["a"], "size": 0}], "outputs": None}), ""),
    ],
)
def test_an_envelope_that_does_not_fit_is_refused(data: bytes, message: str) -> None:
    assert message in error_of(data)


def test_what_nobody_foresaw_ends_its_own_job_alone() -> None:
    bad = damaged({"tensors": [{"name": ["x"], "datatype": "FP32", "shape": [0, 2], "size": 0}], "outputs": None})
    decoded, failed = decode_jobs([claimed(bad, 1), claimed([[1, 2]], 2)], ONE)
    assert (len(decoded), len(failed)) == (1, 1)
