import tracemalloc

import numpy as np
import orjson

from inferqueue_core.datatypes import Datatype
from inferqueue_core.jobs import Job, JobStatus
from inferqueue_core.tensors import Envelope, Tensor, encode_envelope
from inferqueue_proxy.results import job_json, tensor_json


def _shown(result: bytes) -> object:
    return orjson.loads(job_json(Job("j", JobStatus.COMPLETED, result=result)))["result"]


def test_json_results_pass_unchanged() -> None:
    assert _shown(b'{"prediction":0}') == {"prediction": 0}


def test_a_result_that_is_not_json_is_shown_as_text() -> None:
    assert _shown(b"NaN") == "NaN"
    assert _shown(b"\xff") == "�"


def test_a_result_is_shown_without_making_its_values() -> None:
    result = orjson.dumps([{"y": number} for number in range(100_000)])
    tracemalloc.start()
    try:
        shown = job_json(Job("j", JobStatus.COMPLETED, result=result))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(shown)
    finally:
        tracemalloc.stop()


def test_tensors_are_shown_as_the_protocol_writes_them() -> None:
    tensor = Tensor("p", Datatype.FP32, np.array([[0.1, np.nan]], np.float32))
    assert _shown(encode_envelope(Envelope((tensor,)))) == {
        "outputs": [{"name": "p", "datatype": "FP32", "shape": [1, 2], "data": [0.1, "NaN"]}]
    }


def test_every_datatype_can_be_shown() -> None:
    for datatype in Datatype:
        element = "é" if datatype is Datatype.BYTES else 1
        array = np.array([[element, element]], dtype=datatype.dtype)
        shown = orjson.loads(orjson.dumps(tensor_json(Tensor("t", datatype, array.T))))
        assert shown["data"] == [element, element]
        assert shown["shape"] == [2, 1]
