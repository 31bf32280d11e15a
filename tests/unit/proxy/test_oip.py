import struct
from typing import Any

import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from inferqueue_core.datatypes import Datatype
from inferqueue_core.errors import InvalidInputError
from inferqueue_core.jobs import RanModel
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_core.tensors import Envelope, Tensor
from inferqueue_proxy.oip import InferRequest, decode_request, encode_response

RAN = RanModel("iris", "1", "sha256:ab")
MODEL = ModelInfo(
    name="iris",
    version="1",
    queue="q",
    inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=(-1, 4)),),
    outputs=(
        TensorSpec(name="label", datatype=Datatype.INT64, shape=(-1,)),
        TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 3)),
    ),
    batchable=True,
    finite=True,
)
INPUT: dict[str, Any] = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
RAW = struct.pack("<4f", 1, 2, 3, 4)


def _decode(document: object, tail: bytes = b"") -> InferRequest:
    header = orjson.dumps(document)
    return decode_request(header + tail, len(header) if tail else None, MODEL)


def _values(request: InferRequest) -> list[Any]:
    values: list[Any] = request.envelope.tensors[0].array.tolist()
    return values


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2, 3, 4]]])
def test_data_may_be_flat_or_nested(data: list[Any]) -> None:
    assert _values(_decode({"inputs": [INPUT | {"data": data}]})) == [[1, 2, 3, 4]]


def test_binary_data_follows_the_header() -> None:
    entry = {"name": "input", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    assert _values(_decode({"inputs": [entry]}, RAW)) == [[1, 2, 3, 4]]


def test_a_raw_request_is_one_tensor_and_gets_raw_outputs() -> None:
    request = decode_request(RAW, 0, MODEL)
    assert _values(request) == [[1, 2, 3, 4]]
    assert request.binary == {"label", "probabilities"}


def test_a_raw_string_is_one_element() -> None:
    text = replace(MODEL, inputs=(TensorSpec(name="t", datatype=Datatype.BYTES, shape=(-1,)),))
    assert _values(decode_request("süß".encode(), 0, text)) == ["süß"]


def test_id_timeout_and_outputs_are_read() -> None:
    request = _decode(
        {
            "id": "7",
            "parameters": {"timeout": 1_500_000, "binary_data_output": True},
            "inputs": [INPUT],
            "outputs": [{"name": "probabilities"}, {"name": "label", "parameters": {"binary_data": False}}],
        }
    )
    assert (request.id, request.timeout_seconds) == ("7", 1.5)
    assert request.envelope.outputs == ("probabilities", "label")
    assert request.binary == {"probabilities"}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "body"),
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": [3]}, "inputs[0]"),
        ({"inputs": [{}]}, "inputs[0].name"),
        ({"inputs": [INPUT | {"name": "x"}]}, "inputs[0].name"),
        ({"inputs": [INPUT, INPUT]}, "inputs[1].name"),
        ({"inputs": [INPUT | {"datatype": "FP64"}]}, "inputs[0].datatype"),
        ({"inputs": [INPUT | {"datatype": "FLOAT"}]}, "inputs[0].datatype"),
        ({"inputs": [INPUT | {"shape": [1, 5]}]}, "inputs[0].shape"),
        ({"inputs": [INPUT | {"shape": [-1, 4]}]}, "inputs[0].shape"),
        ({"inputs": [INPUT | {"shape": [2**40, 4]}]}, "inputs[0].shape"),
        ({"inputs": [INPUT | {"shape": [True, 4]}]}, "inputs[0].shape"),
        ({"inputs": [INPUT | {"shape": "1,4"}]}, "inputs[0].shape"),
        ({"inputs": [INPUT | {"shape": [2, 4]}]}, "inputs[0].data"),
        ({"inputs": [INPUT | {"shape": [0, 4], "data": []}]}, "inputs"),
        ({"inputs": [INPUT | {"data": [1, 2, 3, "x"]}]}, "inputs[0].data[3]"),
        ({"inputs": [INPUT | {"data": [1, 2, 3, None]}]}, "inputs[0].data[3]"),
        ({"inputs": [INPUT | {"data": [1, 2, 3, "NaN"]}]}, "inputs"),
        ({"inputs": [{k: v for k, v in INPUT.items() if k != "data"}]}, "inputs[0].data"),
        ({"inputs": [INPUT | {"parameters": {"binary_data_size": 16}}]}, "inputs[0].data"),
        (
            {"inputs": [INPUT | {"parameters": {"sequence_id": 1}}]},
            "inputs[0].parameters.sequence_id",
        ),
        ({"inputs": [INPUT], "id": 7}, "id"),
        ({"inputs": [INPUT], "parameters": {"x": []}}, "parameters.x"),
        ({"inputs": [INPUT], "parameters": {"timeout": -1}}, "parameters.timeout"),
        ({"inputs": [INPUT], "parameters": {"binary_data_output": 1}}, "parameters.binary_data_output"),
        ({"inputs": [INPUT], "outputs": [{"name": "x"}]}, "outputs[0].name"),
        ({"inputs": [INPUT], "outputs": [{"name": "label"}, {"name": "label"}]}, "outputs[1].name"),
        ({"inputs": [INPUT], "outputs": "label"}, "outputs"),
    ],
)
def test_what_does_not_fit_is_refused_by_field(document: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        _decode(document)
    assert refused.value.field == field


def _binary(size: Any) -> dict[str, Any]:
    entry = {"name": "input", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    return {"inputs": [entry]}


@pytest.mark.parametrize(
    ("size", "tail", "field"),
    [
        (16, RAW[:12], "inputs[0].parameters.binary_data_size"),
        (16, RAW + b"more", "body"),
        (12, RAW[:12], "inputs[0].data"),
        (-1, RAW, "inputs[0].parameters.binary_data_size"),
        ("16", RAW, "inputs[0].parameters.binary_data_size"),
    ],
)
def test_binary_sizes_must_match(size: Any, tail: bytes, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        _decode(_binary(size), tail)
    assert refused.value.field == field


def test_a_raw_body_must_fill_rows() -> None:
    with pytest.raises(InvalidInputError, match="bytes"):
        decode_request(RAW[:10], 0, MODEL)


def test_a_header_length_beyond_the_body_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="whole body"):
        decode_request(b"{}", 3, MODEL)


@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.BYTES])
def test_depth_is_limited(datatype: Datatype) -> None:
    model = replace(MODEL, inputs=(TensorSpec(name="input", datatype=datatype, shape=(-1, 4)),))
    tensor = b'{"name":"input","shape":[1,4],"datatype":"%s","data":' % datatype.encode()
    with pytest.raises(InvalidInputError, match=r"rectangular|deeply"):
        decode_request(b'{"inputs":[' + tensor + b"[" * 900 + b"]" * 900 + b"}]}", None, model)


def test_an_answer_mixes_json_and_raw_tensors() -> None:
    envelope = Envelope(
        (
            Tensor("label", Datatype.INT64, np.array([2])),
            Tensor("probabilities", Datatype.FP32, np.array([[0.5, 0.25, 0.25]], np.float32)),
        )
    )
    answer = encode_response(InferRequest(envelope, id="7", binary=frozenset({"probabilities"})), envelope, RAN)
    assert answer.header_length is not None
    header = orjson.loads(answer.body[: answer.header_length])
    assert (header["model_name"], header["model_version"], header["id"]) == ("iris", "1", "7")
    label, probabilities = header["outputs"]
    assert label == {"name": "label", "datatype": "INT64", "shape": [1], "data": [2]}
    assert probabilities["parameters"] == {"binary_data_size": 12}
    assert struct.unpack("<3f", answer.body[answer.header_length :]) == (0.5, 0.25, 0.25)


def test_an_answer_without_raw_tensors_has_no_header_length() -> None:
    envelope = Envelope((Tensor("label", Datatype.INT64, np.array([2])),))
    answer = encode_response(InferRequest(envelope), envelope, RAN)
    assert answer.header_length is None
    assert "id" not in orjson.loads(answer.body)
