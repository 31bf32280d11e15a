"""A job as JSON: what `GET /job/{id}` answers."""

from typing import Any

import numpy as np
import orjson
from msgspec.structs import asdict

from inferqueue_core.datatypes import Array
from inferqueue_core.jobs import Job
from inferqueue_core.json_tensors import json_values
from inferqueue_core.tensors import Tensor, decode_envelope, is_envelope
from inferqueue_proxy.json_texts import is_json


def job_json(job: Job) -> bytes:
    """Give a job as a JSON text; times are UTC in RFC 3339."""
    document = {
        "job_id": job.id,
        "status": job.status,
        "result": None if job.result is None else _result(job.result),
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "attempts": job.attempts,
        "model": None if job.model is None else asdict(job.model),
    }
    return orjson.dumps(document, option=orjson.OPT_UTC_Z)


def tensor_json(tensor: Tensor) -> dict[str, Any]:
    """Give a tensor as the Open Inference Protocol writes it in JSON, its data flat."""
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "data": _values(tensor.array.reshape(-1)),
    }


def _values(array: Array) -> Any:
    """Give an array's values for JSON; what orjson can write itself goes the short way."""
    if array.dtype in _PLAIN:
        text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
        if b"null" not in text:  # which stands for NaN and infinity
            return orjson.Fragment(text)
    return json_values(array)


_PLAIN = tuple(np.dtype(name) for name in ("bool", "int8", "int16", "int32", "int64", "float32", "float64"))


def _result(result: bytes) -> Any:
    if is_envelope(result):
        return {"outputs": [tensor_json(tensor) for tensor in decode_envelope(result).tensors]}
    # Anyone may be the worker, so the text need not be JSON; the answer must be.
    return orjson.Fragment(result) if is_json(result) else result.decode(errors="replace")
