"""One version of a model takes over from another under load, and new files from old ones, as users roll them out."""

import base64
import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from onnx import ModelProto

from support.crowds import Crowd
from support.gateways import Gateway
from support.kubectl import Kubectl
from support.onnx_models import scaling
from support.releases import Release
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

MODEL = "scaled"
CLIENTS = 4


def _digest(model: ModelProto) -> str:
    return f"sha256:{hashlib.sha256(model.SerializeToString()).hexdigest()}"


def _store(kubectl: Kubectl, versions: dict[str, ModelProto]) -> None:
    """Put versions into the ConfigMap that the workers mount as their repository."""
    content = {
        f"v{version}": base64.b64encode(model.SerializeToString()).decode() for version, model in versions.items()
    }
    kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MODEL}, "binaryData": content})


def _with_worker(values: dict[str, Any], version: str) -> dict[str, Any]:
    items = [{"key": f"v{number}", "path": f"{MODEL}/{number}/model.onnx"} for number in (1, 2)]
    worker = {
        "minReplicas": 2,
        "maxReplicas": 2,
        "env": {"MODEL_REPOSITORY": "/repository", "MODEL_VERSION": version, "RUNNERS": 1},
        "extraVolumes": [{"name": "repository", "configMap": {"name": MODEL, "items": items}}],
        "extraVolumeMounts": [{"name": "repository", "mountPath": "/repository", "readOnly": True}],
    }
    return values | {"workers": values["workers"] | {MODEL: worker}}


class Clients(Crowd):
    """Clients that ask without a pause, as the model's metadata says at the time, and check each answer.

    No request is sent again: whatever one proxy tells of the model, each of them must take.
    """

    def __init__(self, gateway: Gateway, factors: dict[str, float]) -> None:
        """`factors` are those of the models that may answer, by digest."""
        super().__init__(CLIENTS)
        self._gateway = gateway
        self._factors = factors
        self.answers: Counter[str] = Counter()
        self.faults: list[str] = []

    def work(self, number: int) -> None:
        """Ask for one number after another."""
        turn = 0
        while not self.is_over:
            turn += 1
            self._ask(float(1 + number + CLIENTS * (turn % 50)))

    def _ask(self, number: float) -> None:
        metadata = self._gateway.http.get(f"/v2/models/{MODEL}").raise_for_status().json()
        row = [number] * metadata["inputs"][0]["shape"][1]
        body = {"model": MODEL, "data": [row]}
        answer = self._gateway.http.post("/predict", json=body, headers={"Prefer": "wait=60"})
        job = answer.json()
        if job.get("status") != "completed":
            self.faults.append(answer.text)
            return
        digest = job["model"]["digest"]
        self.answers[digest] += 1
        if job["result"] != {"y": [self._factors[digest] * element for element in row]}:
            self.faults.append(answer.text)


def _await_answers_of(clients: Clients, model: ModelProto, seconds: float) -> None:
    wait_until(lambda: clients.answers[_digest(model)] >= 20, seconds, "answers of the new model", every=0.5)


@pytest.fixture
def served(release: Release, values: dict[str, Any], gateway: Gateway) -> Iterator[dict[str, ModelProto]]:
    """Serve version 1 of two, whose inputs have other shapes; afterwards the release is as it was."""
    versions = {"1": scaling(2, 2), "2": scaling(3, 3)}
    _store(release.kubectl, versions)
    release.upgrade(_with_worker(values, "1"))
    wait_until(lambda: gateway.http.get(f"/v2/models/{MODEL}/ready").status_code == 200, 60, "the model is known")
    yield versions
    release.upgrade(values)


def test_a_rollout_of_a_version_of_another_shape_fails_no_request(
    release: Release, values: dict[str, Any], gateway: Gateway, served: dict[str, ModelProto]
) -> None:
    clients = Clients(gateway, {_digest(served["1"]): 2, _digest(served["2"]): 3})
    with clients.at_work():
        _await_answers_of(clients, served["1"], 60)
        release.upgrade(_with_worker(values, "2"))
        _await_answers_of(clients, served["2"], 60)
        name = f"deployment/{release.worker(MODEL)}"
        release.kubectl.run("rollout", "status", name, "--timeout=120s", timeout=140)
    assert clients.faults == []
    metadata = gateway.http.get(f"/v2/models/{MODEL}").json()
    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"][0]["shape"] == [-1, 3]


@pytest.mark.long
def test_new_files_in_a_config_map_are_served_without_a_restart(
    release: Release, gateway: Gateway, served: dict[str, ModelProto]
) -> None:
    selector = release.selector("worker", MODEL)
    changed = scaling(5, 2)
    clients = Clients(gateway, {_digest(served["1"]): 2, _digest(changed): 5})
    with clients.at_work():
        _await_answers_of(clients, served["1"], 60)
        _store(release.kubectl, {"1": changed, "2": served["2"]})
        # The kubelet brings a ConfigMap up to date when it looks at the pod again, which a new annotation makes sooner.
        release.kubectl.run("annotate", "pods", "--selector", selector, f"touched={time.time():.0f}", "--overwrite")
        _await_answers_of(clients, changed, 180)
    assert clients.faults == []
    statuses = [pod["status"]["containerStatuses"][0] for pod in release.kubectl.items("pods", selector)]
    assert {status["restartCount"] for status in statuses} == {0}
