"""Mistakes against the Open Inference Protocol: where other servers cast, ignore or break, we say what is wrong."""

import gzip
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from support.oip import HEADER_LENGTH, read_outputs
from support.programs import Worker
from support.redis_servers import RedisServer

INFER = "/v2/models/iris/infer"
ROW = [5.1, 3.5, 1.4, 0.2]
RAW = struct.pack("<4f", *ROW)
GOOD: dict[str, Any] = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": ROW}
BINARY = {"name": "input", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}


@pytest.fixture(scope="module", autouse=True)
def _iris(lasting_redis: RedisServer) -> Iterator[None]:
    with Worker(lasting_redis.url):
        yield


def changed(**fields: Any) -> dict[str, Any]:
    return {"inputs": [GOOD | fields]}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/none/infer",
        "/v2/models/iris/versions/9/infer",
        "/v2/models/iris/versions/one/infer",
        "/v2/models/IRIS/infer",
    ],
)
def test_an_unknown_model_or_version_is_not_found(http: httpx.Client, path: str) -> None:
    refused(http.post(path, json={"inputs": [GOOD]}), 404)


WRONG_DOCUMENTS = {
    "unknown input": changed(name="other"),
    "extra input": {"inputs": [GOOD, GOOD | {"name": "other"}]},
    "input given twice": {"inputs": [GOOD, GOOD]},
    "no inputs": {"inputs": []},
    "missing inputs": {},
    "inputs that are no list": {"inputs": GOOD},
    "input without a name": {"inputs": [{key: value for key, value in GOOD.items() if key != "name"}]},
    "input without data": {"inputs": [{key: value for key, value in GOOD.items() if key != "data"}]},
    "unknown output": {"inputs": [GOOD], "outputs": [{"name": "other"}]},
    "wrong datatype": changed(datatype="FP64"),
    "unknown datatype": changed(datatype="FLOAT"),
    "no datatype": changed(datatype=None),
    "wrong fixed dimension": changed(shape=[1, 5], data=[1, 2, 3, 4, 5]),
    "wrong rank": changed(shape=[4]),
    "shape that does not match the data": changed(shape=[2, 4]),
    "nesting that does not match the shape": changed(shape=[1, 4], data=[[1, 2], [3, 4]]),
    "ragged data": changed(data=[[1, 2], [3]]),
    "string in numbers": changed(data=[1, 2, 3, "4"]),
    "null in numbers": changed(data=[1, 2, 3, None]),
    "boolean in numbers": changed(data=[1, 2, 3, True]),
    "object in numbers": changed(data=[1, 2, 3, {}]),
    "negative dimension": changed(shape=[-1, 4]),
    "huge dimension": changed(shape=[2**62, 4]),
    "dimension that is no integer": changed(shape=[1.0, 4]),
    "number too large for its type": changed(data=[1, 2, 3, 1e300]),
    "no rows": changed(shape=[0, 4], data=[]),
    "id that is no string": {"inputs": [GOOD], "id": 7},
    "parameters that are no object": {"inputs": [GOOD], "parameters": 7},
    "binary size without bytes": changed(data=None, parameters={"binary_data_size": 16}),
    "binary size that is no number": {"inputs": [BINARY | {"parameters": {"binary_data_size": "16"}}]},
}


@pytest.mark.parametrize("name", WRONG_DOCUMENTS)
def test_a_request_that_the_model_cannot_take_is_refused(http: httpx.Client, name: str) -> None:
    refused(http.post(INFER, json=WRONG_DOCUMENTS[name]), 400)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"7", b"\xff", pytest.param(b"[" * 100_000, id="deep"), b'{"inputs": [NaN]}'],
)
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, body: bytes) -> None:
    refused(http.post(INFER, content=body, headers={"Content-Type": "application/json"}), 400)


def test_many_rows_are_split_and_answered(http: httpx.Client) -> None:
    """One job of more rows than any run takes."""
    rows = 5000
    answer = http.post(INFER, json=changed(shape=[rows, 4], data=ROW * rows))
    assert read_outputs(answer)["label"].tolist() == [0] * rows


def raw_request(size: int, body: bytes, header_length: int | None = None) -> tuple[bytes, dict[str, str]]:
    header = orjson.dumps({"inputs": [BINARY | {"parameters": {"binary_data_size": size}}]})
    length = len(header) if header_length is None else header_length
    return header + body, {HEADER_LENGTH: str(length), "Content-Type": "application/octet-stream"}


@pytest.mark.parametrize(
    ("size", "body"),
    [
        pytest.param(12, RAW[:12], id="size does not match the shape"),
        pytest.param(-16, RAW, id="negative size"),
        pytest.param(16, RAW[:9], id="body is short"),
        pytest.param(16, RAW + b"more", id="body is long"),
        pytest.param(2**62, RAW, id="huge size"),
    ],
)
def test_raw_tensors_of_a_wrong_size_are_refused(http: httpx.Client, size: int, body: bytes) -> None:
    content, headers = raw_request(size, body)
    refused(http.post(INFER, content=content, headers=headers), 400)


@pytest.mark.parametrize("length", ["7", "100000", "-1", "many", ""])
def test_a_wrong_header_length_is_refused(http: httpx.Client, length: str) -> None:
    content, headers = raw_request(16, RAW)
    refused(http.post(INFER, content=content, headers=headers | {HEADER_LENGTH: length}), 400)


def test_a_body_of_one_raw_tensor_is_answered(http: httpx.Client) -> None:
    headers = {HEADER_LENGTH: "0", "Content-Type": "application/octet-stream"}
    answer = http.post(INFER, content=RAW, headers=headers)
    assert read_outputs(answer)["label"].tolist() == [0]
    assert HEADER_LENGTH in answer.headers


def test_gzip_is_taken_and_given(http: httpx.Client) -> None:
    body = gzip.compress(orjson.dumps({"inputs": [GOOD]}))
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip", "Content-Type": "application/json"}
    answer = http.post(INFER, content=body, headers=headers)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert read_outputs(answer)["label"].tolist() == [0]


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"{}", mtime=0)[:-4]], ids=["no gzip", "cut off"])
def test_broken_gzip_is_refused(http: httpx.Client, body: bytes) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    refused(http.post(INFER, content=body, headers=headers), 400)


def test_an_unknown_coding_is_refused(http: httpx.Client) -> None:
    headers = {"Content-Encoding": "br", "Content-Type": "application/json"}
    refused(http.post(INFER, content=b"{}", headers=headers), 415)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", INFER), ("PUT", INFER), ("POST", "/v2"), ("POST", "/v2/health/ready"), ("DELETE", "/v2/models/iris")],
)
def test_a_wrong_method_is_refused(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    refused(answer, 405)
    assert answer.headers["Allow"]


def test_a_body_over_the_limit_is_refused(http: httpx.Client) -> None:
    refused(http.post(INFER, content=b" " * (64 * 1024 * 1024 + 1)), 413)


def refused(answer: httpx.Response, status: int) -> None:
    """Check the status, and that the error is the protocol's: an object with a message."""
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["error"], str)
    assert answer.json()["error"]
