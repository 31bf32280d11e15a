"""What docs/operations.md promises of a release's life, by the page's own commands."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.clusters import Cluster
from support.commands import CommandFailedError
from support.figures import Figures
from support.gateways import Gateway, ModelQueue
from support.kubectl import Kubectl
from support.releases import Release
from support.runbooks import Runbook
from support.waiting import wait_until
from support.watches import PodWatch, ReplicaWatch

pytestmark = pytest.mark.e2e

SETOSA, STEADY = [5.1, 3.5, 1.4, 0.2], [1.0]
KEPT_HOST = "kept.inferqueue.test"


def _password(release: Release) -> str:
    secret = release.kubectl.json("get", "secret", f"{release.fullname}-redis")
    return base64.b64decode(secret["data"]["password"]).decode()


def test_a_rollback_under_load_goes_back_and_loses_nothing(
    release: Release,
    values: dict[str, Any],
    queues: dict[str, ModelQueue],
    at_rest: Callable[..., None],
    watch: Callable[[str], tuple[ReplicaWatch, PodWatch]],
) -> None:
    def variables() -> set[str]:
        deployment = release.kubectl.json("get", "deployment", release.worker("steady"))
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return {variable["name"] for variable in container["env"]}

    at_rest("steady")
    replicas, _ = watch("steady")
    # Workers of both kinds at once: those that are there are replaced twice.
    changed = values["workers"]["steady"] | {"env": {"MAX_BATCH_BYTES": 1_000_000}}
    ids = queues["steady"].submit(200, STEADY)
    wait_until(lambda: replicas.replicas > 0, 30, "the Deployment is scaled")
    release.upgrade(values | {"workers": values["workers"] | {"steady": changed}})
    assert "MAX_BATCH_BYTES" in variables()
    ids += queues["steady"].submit(100, STEADY)
    release.rollback()
    queues["steady"].all_completed(ids)
    assert "MAX_BATCH_BYTES" not in variables()


@pytest.mark.long
def test_the_password_of_redis_is_changed(
    release: Release,
    values: dict[str, Any],
    gateway: Gateway,
    queues: dict[str, ModelQueue],
    at_rest: Callable[..., None],
    tmp_path: Path,
) -> None:
    at_rest("iris", "quick", "steady", "long")
    before = _password(release)
    Runbook(release.kubectl, tmp_path).follow("Change the password of Redis")
    redis = f"{release.fullname}-redis"
    release.kubectl.run("rollout", "status", f"statefulset/{redis}", "--timeout=120s", timeout=140)
    after = _password(release)
    assert after != before
    pings = {
        password: release.kubectl.run(
            *("exec", f"{redis}-0", "--container", "redis", "--", "env"),
            *(f"REDISCLI_AUTH={password}", "sh", "-c", "redis-cli ping 2>&1"),
        )
        for password in (before, after)
    }
    assert "PONG" not in pings[before]
    assert "PONG" in pings[after]
    gateway.await_answers()
    queues["iris"].all_completed(queues["iris"].submit(20, [SETOSA]))
    statuses = [status for pod in release.pods("proxy") for status in pod["status"]["containerStatuses"]]
    assert {status["restartCount"] for status in statuses} == {0}
    release.upgrade(values)
    release.rollback()
    assert _password(release) == after, "an upgrade and a rollback leave it"
    gateway.await_answers()


@pytest.mark.long
def test_a_backup_is_restored_and_a_new_release_goes_on_with_the_queue(
    cluster: Cluster,
    make_namespace: Callable[[str], Kubectl],
    values: dict[str, Any],
    figures: Figures,
    tmp_path: Path,
) -> None:
    kubectl = make_namespace("inferqueue-kept")
    kept = Release(kubectl, "inferqueue")
    ingress = values["proxy"]["ingress"] | {"hosts": [KEPT_HOST]}
    whole = values | {
        "proxy": values["proxy"] | {"replicas": 1, "ingress": ingress},
        "workers": {"iris": {"queue": "predict_queue"}},
        "redis": values["redis"] | {"persistence": {"size": "1Gi", "whenDeleted": "Retain"}},
    }
    kept.install(whole)
    gateway = Gateway(cluster.port, KEPT_HOST)
    gateway.await_answers()
    queue = ModelQueue(gateway, "iris", figures)
    wait_until(queue.look, 60, "the worker has published its model", every=0.5)
    kubectl.run("patch", "iq", kept.worker("iris"), "--type=merge", "--patch", '{"spec": {"suspend": true}}')
    kubectl.run("scale", f"deployment/{kept.worker('iris')}", "--replicas=0")
    wait_until(lambda: not kubectl.items("pods", kept.selector("worker")), 60, "the worker goes", every=0.5)

    runbook, heading = Runbook(kubectl, tmp_path), "Backup and restore of the append-only file"
    ids = queue.submit(20, [SETOSA])
    runbook.follow(heading, 0)
    # What is accepted after the copy is not in it.
    late = gateway.http.post("/predict", json={"data": [SETOSA]}).raise_for_status().json()["job_id"]
    runbook.follow(heading, 1)
    wait_until(lambda: (queue.look() or {"length": -1})["length"] == 20, 60, "the backlog is back", every=0.5)
    assert gateway.http.get(f"/job/{late}").status_code == 404

    kept.uninstall()
    kept.install(whole)
    gateway.await_answers()
    queue.all_completed(ids)
    gateway.close()
    kept.uninstall()
    kubectl.run("delete", "namespace", kubectl.namespace, "--timeout=90s")


@pytest.mark.long
def test_a_wrong_password_is_said_clearly_and_mended_in_its_secret_alone(
    make_namespace: Callable[[str], Kubectl], release: Release, values: dict[str, Any]
) -> None:
    kubectl = make_namespace("inferqueue-misspelt")
    right = release.kubectl.json("get", "secret", f"{release.fullname}-redis")["data"]["url"]
    url = base64.b64decode(right).decode()

    def store(address: str) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shared"}, "stringData": {"url": address}}
        kubectl.apply(secret)

    store(url.replace("redis://:", "redis://:not-"))
    # Database 1 of the first release's Redis holds none of its queues; kind enforces no NetworkPolicies.
    misspelt = Release(kubectl, "misspelt")
    external = {"redis": {"enabled": False}, "externalRedis": {"existingSecret": "shared"}}
    misspelt.install(
        values | external | {"proxy": {"replicas": 1}, "workers": {"iris": {"queue": "predict_queue"}}}, wait=False
    )
    selector = misspelt.selector("proxy")

    def says_why() -> bool:
        try:
            return "Redis refused the login" in kubectl.run("logs", "--selector", selector, "--tail=-1")
        except CommandFailedError:  # no container has started yet
            return False

    wait_until(says_why, 60, "the proxy says what is wrong", every=0.5)
    store(f"{url.rpartition('/')[0]}/1")
    # Each start of a container reads the Secret; Kubernetes waits longer between them each time.
    kubectl.run("wait", "pods", "--selector", selector, "--for=condition=Ready", "--timeout=180s", timeout=200)
    queue = f"iq/{misspelt.worker('iris')}"
    kubectl.run("wait", queue, "--for=condition=Ready", "--timeout=120s", timeout=140)
    misspelt.uninstall()
    kubectl.run("delete", "namespace", kubectl.namespace, "--timeout=90s")
