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
from inferqueue_proxy.problems import CatalogProblem

RAN = RanModel("iris", "1", "sha256:7")
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


def read(body: bytes, header_length: int | None, model: ModelInfo = MODEL) -> InferRequest:
    """Read a request that only `model` may take."""
    _, request = decode_request(body, header_length, [model])
    return request


def _decode(document: object, tail: bytes = b"") -> InferRequest:
    header = orjson.dumps(document)
    return read(header + tail, len(header) if tail else None)


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
    request = read(RAW, 0)
    assert _values(request) == [[1, 2, 3, 4]]
    assert request.binary == {"label", "probabilities"}


def test_a_raw_string_is_one_element() -> None:
    text = replace(MODEL, inputs=(TensorSpec(name="t", datatype=Datatype.BYTES, shape=(-1,)),))
    assert _values(read("süß".encode(), 0, text)) == ["süß"]


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
        ({"inputs": [INPUT], "id": 7}, "id"),
        ({"inputs": [INPUT], "parameters": {"x": []}}, "parameters.x"),
        ({"inputs": [INPUT], "parameters": {"timeout": -1}}, "parameters.timeout"),
        ({"inputs": [INPUT], "parameters": {"binary_data_output": 1}}, "parameters.binary_data_output"),
    ],
)
def test_what_no_model_would_take_is_refused_by_field(document: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        _decode(document)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("document", "field"),
    [
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
        ({"inputs": [INPUT], "outputs": [{"name": "x"}]}, "outputs[0].name"),
        ({"inputs": [INPUT], "outputs": [{"name": "label"}, {"name": "label"}]}, "outputs[1].name"),
        ({"inputs": [INPUT], "outputs": "label"}, "outputs"),
    ],
)
def test_what_the_model_cannot_take_is_refused_by_field(document: Any, field: str) -> None:
    with pytest.raises(CatalogProblem) as refused:
        _decode(document)
    assert refused.value.errors[0].field == field


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
    with pytest.raises(CatalogProblem) as refused:
        _decode(_binary(size), tail)
    assert refused.value.errors[0].field == field


def test_a_raw_body_must_fill_rows() -> None:
    with pytest.raises(CatalogProblem, match="bytes"):
        read(RAW[:10], 0)


def test_a_header_length_beyond_the_body_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="whole body"):
        read(b"{}", 3)


@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.BYTES])
def test_depth_is_limited(datatype: Datatype) -> None:
    model = replace(MODEL, inputs=(TensorSpec(name="input", datatype=datatype, shape=(-1, 4)),))
    tensor = b'{"name":"input","shape":[1,4],"datatype":"%s","data":' % datatype.encode()
    with pytest.raises((InvalidInputError, CatalogProblem), match=r"rectangular|deeply"):
        read(b'{"inputs":[' + tensor + b"[" * 900 + b"]" * 900 + b"}]}", None, model)


def test_an_answer_mixes_json_and_raw_tensors() -> None:
    envelope = Envelope(
        (
            Tensor("label", Datatype.INT64, np.array([2])),
            Tensor("probabilities", Datatype.FP32, np.array([[0.5, 0.25, 0.25]], np.float32)),
        )
    )
    answer = encode_response(InferRequest(envelope, id="7", binary=frozenset({"probabilities"})), envelope, MODEL, RAN)
    assert answer.header_length is not None
    header = orjson.loads(answer.body[: answer.header_length])
    assert (header["model_name"], header["model_version"], header["id"]) == ("iris", "1", "7")
    label, probabilities = header["outputs"]
    assert label == {"name": "label", "datatype": "INT64", "shape": [1], "data": [2]}
    assert probabilities["parameters"] == {"binary_data_size": 12}
    assert struct.unpack("<3f", answer.body[answer.header_length :]) == (0.5, 0.25, 0.25)


def test_an_answer_without_raw_tensors_has_no_header_length() -> None:
    envelope = Envelope((Tensor("label", Datatype.INT64, np.array([2])),))
    answer = encode_response(InferRequest(envelope), envelope, MODEL, RAN)
    assert answer.header_length is None
    assert "id" not in orjson.loads(answer.body)


@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_one_value_a_row_may_have_the_dimension_that_the_configuration_writes(shape: list[int]) -> None:
    model = replace(MODEL, inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1,)),))
    body = orjson.dumps({"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": [1, 2, 3]}]})
    assert _values(read(body, None, model)) == [1, 2, 3]


def test_numbers_that_json_lacks_are_taken_where_the_model_takes_them() -> None:
    body = (
        b'{"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [NaN, Infinity, -Infinity, 1]}]}'
    )
    (values,) = _values(read(body, None, replace(MODEL, finite=False)))
    assert str(values) == "[nan, inf, -inf, 1.0]"
    with pytest.raises(CatalogProblem, match="must be finite"):
        read(body, None)
    integers = replace(MODEL, inputs=(TensorSpec(name="input", datatype=Datatype.INT8, shape=(-1, 4)),))
    with pytest.raises(CatalogProblem, match="is not an integer"):
        read(body.replace(b"FP32", b"INT8"), None, integers)


def test_classes_are_asked_for_by_their_number() -> None:
    request = _decode(
        {
            "inputs": [INPUT],
            "outputs": [
                {"name": "probabilities", "parameters": {"classification": 2}},
                {"name": "label", "parameters": {"classification": 0}},
            ],
        }
    )
    assert request.top == {"probabilities": 2}
    rows = np.array([[0.1, 0.7, 0.2]], np.float32)
    envelope = Envelope((Tensor("probabilities", Datatype.FP32, rows),))
    model = replace(MODEL, classes=("a", "b", "c"))
    (output,) = orjson.loads(encode_response(request, envelope, model, RAN).body)["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
    assert output["data"] == ["0.700000:1:b", "0.200000:2:c"]


@pytest.mark.parametrize("count", [-1, 1.0, "2", True])
def test_what_is_no_number_of_classes_is_refused(count: object) -> None:
    outputs = [{"name": "probabilities", "parameters": {"classification": count}}]
    with pytest.raises(CatalogProblem, match="number of classes"):
        _decode({"inputs": [INPUT], "outputs": outputs})


def test_texts_have_no_classes() -> None:
    texts = replace(MODEL, outputs=(TensorSpec(name="t", datatype=Datatype.BYTES, shape=(-1,)),))
    body = orjson.dumps({"inputs": [INPUT], "outputs": [{"name": "t", "parameters": {"classification": 1}}]})
    with pytest.raises(CatalogProblem, match="of which none is the largest"):
        read(body, None, texts)


def test_a_request_is_for_the_first_version_that_takes_it() -> None:
    wide = replace(MODEL, version="2", inputs=(TensorSpec(name="input", datatype=Datatype.FP32, shape=(-1, 3)),))
    entry = {"name": "input", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    header = orjson.dumps({"inputs": [entry]})
    for body, header_length in ((orjson.dumps({"inputs": [INPUT]}), None), (header + RAW, len(header)), (RAW, 0)):
        model, request = decode_request(body, header_length, [wide, MODEL])
        assert (model.version, _values(request)) == ("1", [[1, 2, 3, 4]])
        with pytest.raises(CatalogProblem, match=r"\[-1, 3\]|takes 12|16 bytes"):
            decode_request(body, header_length, [wide])


def test_the_first_version_leaves_a_request_as_it_came() -> None:
    flat = replace(MODEL, inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1,)),), finite=True)
    column = replace(flat, version="0", inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1)),))
    tensor = {"name": "x", "shape": [2, 1], "datatype": "FP32", "data": ["NaN", 1]}
    body = orjson.dumps({"inputs": [tensor]})
    model, request = decode_request(body, None, [flat, replace(column, finite=False)])
    assert (model.version, request.envelope.tensors[0].shape) == ("0", (2, 1))


def test_what_outputs_are_asked_for_decides_as_the_inputs_do() -> None:
    older = replace(MODEL, version="0", outputs=(TensorSpec(name="score", datatype=Datatype.FP32, shape=(-1,)),))
    body = orjson.dumps({"inputs": [INPUT], "outputs": [{"name": "score"}]})
    model, _ = decode_request(body, None, [MODEL, older])
    assert model.version == "0"
