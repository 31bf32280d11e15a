"""Single requests through the ingress."""

import json
from concurrent.futures import Future
from typing import Any

import httpx
import numpy as np
import pytest

from support.gateways import Gateway, ModelQueue
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

SETOSA = [5.1, 3.5, 1.4, 0.2]
PATIENT_SECONDS = 40


def test_a_prediction_makes_its_way_there_and_back(gateway: Gateway) -> None:
    accepted = gateway.http.post("/predict", json={"data": [SETOSA]})
    assert accepted.status_code == 202
    path = accepted.headers["Location"]
    assert path == f"/job/{accepted.json()['job_id']}"
    job = wait_until(lambda: _if_ended(gateway.get(path)), 60, "the job ends", every=0.2)
    assert job["status"] == "completed"
    assert job["result"]["class_name"] == "setosa"


def _if_ended(job: dict[str, Any]) -> dict[str, Any] | None:
    return job if job["completed_at"] else None


def test_the_open_inference_protocol_is_spoken_in_json(gateway: Gateway) -> None:
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": SETOSA}
    answer = gateway.http.post("/v2/models/iris/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    assert outputs["label"] == [0]


def test_the_open_inference_protocol_is_spoken_in_binary(gateway: Gateway) -> None:
    raw = np.array(SETOSA, "<f4").tobytes()
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    label = {"name": "label", "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [label]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"}
    answer = gateway.http.post("/v2/models/iris/infer", content=header + raw, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.content[int(answer.headers["Inference-Header-Content-Length"]) :] == bytes(8)


def test_two_models_have_two_queues_and_neither_works_for_the_other(
    gateway: Gateway, queues: dict[str, ModelQueue]
) -> None:
    flowers, timed = queues["iris"].submit(20, [SETOSA]), queues["quick"].submit(20, [0.25])
    queues["iris"].all_completed(flowers)
    assert all("-worker-quick-" in job.worker for job in queues["quick"].all_completed(timed))
    names = {queue["name"]: queue["models"] for queue in gateway.get("/queues")["queues"]}
    assert names["predict_queue"] == ["iris"]
    assert names["quick"] == ["quick"]


def test_a_request_that_waits_40_seconds_is_answered(patient_answer: Future[httpx.Response]) -> None:
    answer = patient_answer.result(90)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.json()["status"] == "completed"
    assert answer.elapsed.total_seconds() >= PATIENT_SECONDS
