import gzip
import struct
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http

from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import ModelInfo, TensorSpec
from support.programs import Proxy
from support.redis_servers import RedisServer

ROW = [5.1, 3.5, 1.4, 0.2]
INPUT: dict[str, Any] = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": ROW}
RAW = struct.pack("<4f", *ROW)
INFER = "/v2/models/iris/infer"
LENGTH = "Inference-Header-Content-Length"


def test_metadata_and_health(iris: httpx.Client) -> None:
    assert iris.get("/v2").json()["extensions"] == [
        *("binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics")
    ]
    assert iris.get("/v2/health/live").json() == {"live": True}
    assert iris.get("/v2/health/ready").json() == {"ready": True}
    assert iris.get("/v2/models/iris/ready").json() == {"name": "iris", "ready": True}
    model = iris.get("/v2/models/iris/versions/1").json()
    assert model["platform"] == "onnx_onnxv1"
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    index = iris.post("/v2/repository/index", json={"ready": True}).json()
    assert index == [{"name": "iris", "version": "1", "state": "READY", "reason": ""}]


@pytest.mark.parametrize("path", ["/v2/models/none", "/v2/models/iris/versions/9", "/v2/models/none/ready"])
def test_unknown_models_and_versions_are_not_found(iris: httpx.Client, path: str) -> None:
    answer = iris.get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


def test_infer_with_json(iris: httpx.Client) -> None:
    answer = iris.post(INFER, json={"id": "7", "inputs": [INPUT]})
    assert answer.status_code == 200
    document = answer.json()
    assert (document["model_name"], document["model_version"], document["id"]) == ("iris", "1", "7")
    label, probabilities = document["outputs"]
    assert (label["name"], label["data"]) == ("label", [0])
    assert probabilities["shape"] == [1, 3]
    assert sum(probabilities["data"]) == pytest.approx(1)


def test_outputs_are_chosen_and_come_raw(iris: httpx.Client) -> None:
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label"}]
    answer = iris.post(INFER, json={"inputs": [INPUT], "outputs": outputs})
    length = int(answer.headers[LENGTH])
    assert len(answer.content) == length + 12
    assert [output["name"] for output in httpx.Response(200, content=answer.content[:length]).json()["outputs"]] == [
        "probabilities",
        "label",
    ]


def test_a_raw_request_is_answered(iris: httpx.Client) -> None:
    answer = iris.post(INFER, content=RAW, headers={LENGTH: "0", "Content-Type": "application/octet-stream"})
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers[LENGTH]) + 8 + 12


def test_gzip_both_ways(iris: httpx.Client) -> None:
    body = gzip.compress(b'{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}')
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    answer = iris.post(INFER, content=body, headers=headers)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.json()["model_name"] == "iris"
    plain = iris.post(INFER, content=body, headers=headers | {"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in plain.headers


def test_a_body_large_enough_for_a_thread(iris: httpx.Client) -> None:
    rows = 5000
    tensor = INPUT | {"shape": [rows, 4], "data": ROW * rows}
    answer = iris.post(INFER, json={"inputs": [tensor], "outputs": [{"name": "label"}]})
    assert answer.json()["outputs"][0]["data"] == [0] * rows


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"datatype": "FP64"},
        {"datatype": "FLOAT"},
        {"shape": [1, 5], "data": [1, 2, 3, 4, 5]},
        {"shape": [2, 4]},
        {"shape": [-1, 4]},
        {"shape": [0, 4], "data": []},
        {"data": [1, 2, 3, "4"]},
        {"data": [1, 2, 3, None]},
        {"parameters": {"binary_data_size": 16}},
    ],
)
def test_what_the_model_cannot_take_is_refused(iris: httpx.Client, change: dict[str, Any]) -> None:
    answer = iris.post(INFER, json={"inputs": [INPUT | change]})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    "document", [{}, {"inputs": []}, {"inputs": [INPUT, INPUT]}, {"inputs": [INPUT], "outputs": [{"name": "x"}]}]
)
def test_what_is_no_request_is_refused(iris: httpx.Client, document: dict[str, Any]) -> None:
    assert iris.post(INFER, json=document).status_code == 400


def test_what_is_no_body_is_refused(iris: httpx.Client) -> None:
    assert iris.post(INFER, content=b"{").status_code == 400
    assert iris.post(INFER, content=RAW, headers={LENGTH: "many"}).status_code == 400
    assert iris.post(INFER, content=RAW[:10], headers={LENGTH: "0"}).status_code == 400
    assert iris.post(INFER, content=b"x" * 1_000_001).status_code == 413
    assert iris.post(INFER, content=b"{}", headers={"Content-Type": "multipart/form-data"}).status_code == 415
    assert iris.get(INFER).status_code == 405


def test_a_wait_that_is_too_short_names_the_job(bare: httpx.Client, bare_redis: RedisServer) -> None:
    """The job waits for a model that is known, and that nobody serves now."""
    spec = TensorSpec(name="input", datatype=Datatype.FP32, shape=(-1, 4))
    model = ModelInfo(name="asleep", version="1", queue="asleep", inputs=(spec,), outputs=(), batchable=True)
    with bare_redis.client() as client:
        client.hset("models", model.key, model.to_json())
    answer = bare.post("/v2/models/asleep/infer", json={"inputs": [INPUT], "parameters": {"timeout": 100_000}})
    assert answer.status_code == 504
    job_id = answer.json()["job_id"]
    assert answer.headers["Location"] == f"/job/{job_id}"
    assert bare.get(f"/job/{job_id}").json()["status"] == "pending"


def test_tritons_own_client(iris_proxy: Proxy) -> None:
    client = tritonclient.http.InferenceServerClient(iris_proxy.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.get_model_metadata("iris")["name"] == "iris"
    rows = np.array([ROW, [6.7, 3.0, 5.2, 2.3]], np.float32)
    for binary in (True, False):
        tensor = tritonclient.http.InferInput("input", rows.shape, "FP32")
        tensor.set_data_from_numpy(rows, binary_data=binary)
        wanted = [
            tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")
        ]
        for compression in (None, "gzip", "deflate"):
            answer = client.infer(
                "iris", [tensor], outputs=wanted, request_id="r", request_compression_algorithm=compression
            )
            assert answer.as_numpy("label").tolist() == [0, 2]
            assert answer.as_numpy("probabilities").shape == (2, 3)
            assert answer.get_response()["id"] == "r"
    client.close()


def test_predict_gives_the_readable_answer(iris: httpx.Client) -> None:
    wait = {"Prefer": "wait=20"}
    one = iris.post("/predict", json={"data": [ROW]}, headers=wait).json()["result"]
    assert (one["prediction"], one["class_name"]) == (0, "setosa")
    assert sum(one["probabilities"]) == pytest.approx(1)
    two = iris.post("/predict", json={"data": {"input": [ROW, ROW]}}, headers=wait).json()["result"]
    assert [row["class_name"] for row in two] == ["setosa", "setosa"]
    assert iris.post("/predict", json={"data": [ROW[:3]]}).json()["errors"][0]["field"] == "data"
