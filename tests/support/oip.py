"""The Open Inference Protocol as a client writes and reads it: arrays in, arrays out."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import numpy as np
import orjson

from inferqueue_core.datatypes import Array, Datatype, from_dtype
from inferqueue_core.json_tensors import json_values, read_flat_tensor
from inferqueue_core.models import TensorSpec
from inferqueue_core.tensors import Tensor, tensor_bytes, tensor_from_bytes

HEADER_LENGTH = "Inference-Header-Content-Length"


def _datatype(array: Array) -> Datatype:
    datatype = from_dtype(array.dtype)
    assert datatype is not None, array.dtype
    return datatype


def json_body(inputs: Mapping[str, Array], **fields: Any) -> bytes:
    """Write an infer request in JSON alone."""
    entries = [
        {"name": name, "shape": array.shape, "datatype": _datatype(array), "data": json_values(array)}
        for name, array in inputs.items()
    ]
    return orjson.dumps({"inputs": entries, **fields})


def binary_body(inputs: Mapping[str, Array], **fields: Any) -> tuple[bytes, dict[str, str]]:
    """Write an infer request with raw tensors that wants raw tensors back; gives the body and its headers."""
    raw = [tensor_bytes(Tensor(name, _datatype(array), array)) for name, array in inputs.items()]
    entries = [
        {
            "name": name,
            "shape": array.shape,
            "datatype": _datatype(array),
            "parameters": {"binary_data_size": len(part)},
        }
        for (name, array), part in zip(inputs.items(), raw, strict=True)
    ]
    header = orjson.dumps({"inputs": entries, "parameters": {"binary_data_output": True}, **fields})
    headers = {HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}
    return b"".join((header, *raw)), headers


def read_outputs(answer: httpx.Response) -> dict[str, Array]:
    """Read the outputs of an answer, raw or in JSON; fail when it is no success."""
    assert answer.status_code == 200, answer.text
    length = answer.headers.get(HEADER_LENGTH)
    header: dict[str, Any] = orjson.loads(answer.content if length is None else answer.content[: int(length)])
    rest = memoryview(answer.content)[len(answer.content) if length is None else int(length) :]
    return {entry["name"]: array for entry, array in _arrays(header["outputs"], rest)}


def _arrays(entries: Sequence[Mapping[str, Any]], rest: memoryview) -> list[tuple[Mapping[str, Any], Array]]:
    read = []
    at = 0
    for entry in entries:
        datatype, shape = Datatype(entry["datatype"]), tuple(entry["shape"])
        if "data" in entry:
            spec = TensorSpec(name=entry["name"], datatype=datatype, shape=shape)
            tensor = read_flat_tensor("data", entry["data"], spec, shape)
        else:
            size = entry["parameters"]["binary_data_size"]
            tensor = tensor_from_bytes("data", entry["name"], datatype, shape, rest[at : at + size])
            at += size
        read.append((entry, tensor.array))
    assert at == len(rest), f"{len(rest) - at} bytes follow the raw tensors"
    return read


def assert_same(actual: Array, expected: Array, rtol: float = 0) -> None:
    """Compare type, shape and every value; NaN is NaN, and with `rtol` 0 floats are equal to the last bit."""
    if expected.dtype.kind in "OU":
        assert actual.shape == expected.shape
        assert actual.reshape(-1).tolist() == [str(element) for element in expected.reshape(-1).tolist()]
        return
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if rtol and expected.dtype.kind == "f":
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(actual, expected)
