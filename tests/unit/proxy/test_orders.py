import math
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from inferqueue_core.datatypes import Datatype
from inferqueue_core.jobs import JobTarget
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_proxy.orders import make_job, read_order
from inferqueue_proxy.problems import CatalogProblem, Problem

IRIS = ModelInfo(
    name="iris",
    version="1",
    queue="q",
    inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=(-1, 4)),),
    outputs=(TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),),
    batchable=True,
    finite=True,
)
PAIR = replace(IRIS, inputs=tuple(TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 1)) for name in "ab"))
ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "data"),
        ({"data": 1, "webhook": "http://x"}, "webhook"),
        ({"data": 1, "model": 3}, "model"),
        ({"data": 1, "deadline_seconds": 0}, "deadline_seconds"),
        ({"data": 1, "deadline_seconds": -1}, "deadline_seconds"),
        ({"data": 1, "deadline_seconds": math.nan}, "deadline_seconds"),
        ({"data": 1, "deadline_seconds": 1e300}, "deadline_seconds"),
        ({"data": 1, "deadline_seconds": True}, "deadline_seconds"),
        ({"data": 1, "deadline_seconds": "5"}, "deadline_seconds"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_by_field(body: Any, field: str) -> None:
    with pytest.raises(Problem) as refused:
        read_order(body)
    assert (refused.value.status, refused.value.errors[0].field) == (422, field)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (ROW, "data"),
        ([ROW[:3]], "data"),
        ([ROW, ROW[:2]], "data"),
        ([["a", 1, 2, 3]], "data[0][0]"),
        ([[None, 1, 2, 3]], "data[0][0]"),
        ([["NaN", 1, 2, 3]], "data"),
        ([[1e39, 1, 2, 3]], "data"),
        ([], "data"),
        ({"other": [ROW]}, "data.other"),
        ({}, "data.input"),
    ],
)
def test_data_that_the_model_cannot_take_is_refused_by_field(data: Any, field: str) -> None:
    with pytest.raises(Problem) as refused:
        make_job("id", read_order({"data": data}), [IRIS])
    assert (refused.value.status, refused.value.errors[0].field) == (422, field)


def test_zero_rows_are_refused() -> None:
    zero = replace(IRIS, inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=(-1,)),))
    with pytest.raises(Problem, match="0 rows"):
        make_job("id", read_order({"data": []}), [zero])


def test_inputs_must_agree_in_rows() -> None:
    with pytest.raises(Problem, match="differ in their number of rows"):
        make_job("id", read_order({"data": {"a": [[1], [2]], "b": [[1]]}}), [PAIR])


def test_depth_beyond_what_can_be_written_is_refused() -> None:
    deep = orjson.loads(b'{"data":' + b"[" * 300 + b"]" * 300 + b"}")
    for models in ([], [IRIS]):
        with pytest.raises(Problem, match="nested too deeply"):
            make_job("id", read_order(deep), models)


def test_the_place_in_a_batch_stands_before_the_field() -> None:
    with pytest.raises(Problem) as refused:
        make_job("id", read_order({"data": [[1]]}, "[3]."), [IRIS])
    assert refused.value.errors[0].field == "[3].data"


def test_a_job_carries_the_data_as_json() -> None:
    _, job = make_job("id", read_order({"data": [ROW], "deadline_seconds": 2.5}), [IRIS])
    assert (orjson.loads(job.data), job.deadline_seconds) == ([ROW], 2.5)


def test_a_job_is_for_the_first_version_that_takes_its_data() -> None:
    wide = replace(IRIS, version="2", inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=(-1, 5)),))
    again = replace(IRIS, version="0")
    model, job = make_job("id", read_order({"data": [ROW]}), [wide, IRIS, again])
    assert (model, job.target.version, job.target.pinned) == (IRIS, "1", False)
    with pytest.raises(CatalogProblem, match=r"takes shape \[-1, 5\]"):
        make_job("id", read_order({"data": [[1]]}), [wide, IRIS])


def test_data_for_a_model_that_is_not_known_is_taken_unchecked() -> None:
    model, job = make_job("id", read_order({"data": "anything"}), [])
    assert (model, job.target) == (None, JobTarget())
