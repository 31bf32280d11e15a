"""A real API server takes what the charts and k8s/ hold: each object, and each pod under restricted Pod Security."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.api_servers import ApiRefusedError, ApiServer
from support.charts import NAMESPACE, Object, every_file, render

ROOT = Path(__file__).parents[3]
# Of others, whose definitions are not installed here.
FOREIGN = {"HTTPRoute", "PodMonitor", "PrometheusRule"}
PLURALS = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}
OLDER = "the feature gate ImageVolume is off before Kubernetes 1.35"


pytestmark = pytest.mark.usefixtures("namespaces")


@pytest.fixture(scope="session")
def namespaces(server: ApiServer) -> None:
    for name in (NAMESPACE, "team-a", "team-b", "inferqueue"):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})


def path(item: Object) -> str:
    """Give the path of an object, in the namespace `inference` where it names none."""
    kind, group = item["kind"], item["apiVersion"]
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    if kind.startswith("Cluster") or kind == "CustomResourceDefinition":
        return f"{root}/{plural}/{item['metadata']['name']}"
    return f"{root}/namespaces/{item['metadata'].get('namespace', NAMESPACE)}/{plural}/{item['metadata']['name']}"


def needs_image_volumes(file: Path) -> bool:
    return file.name == "models-from-image-values.yaml"


@every_file
def test_every_object_would_be_applied(server: ApiServer, chart: Path, file: Path) -> None:
    if needs_image_volumes(file):
        pytest.skip(OLDER)
    for item in render(chart, file):
        if item["kind"] not in FOREIGN:
            server.would_apply(path(item), item)


@every_file
def test_every_pod_would_be_admitted_under_restricted_pod_security(server: ApiServer, chart: Path, file: Path) -> None:
    if needs_image_volumes(file):
        pytest.skip(OLDER)
    for pod in render(chart, file).pods():
        claims = {volume["name"] for volume in pod.spec.get("volumes", [])}
        missing = {mount["name"] for entry in pod.containers for mount in entry.get("volumeMounts", [])} - claims
        # What a StatefulSet makes of its volumeClaimTemplates.
        volumes = pod.spec.get("volumes", []) + [{"name": name, "emptyDir": {}} for name in missing]
        spec = pod.spec | {"volumes": volumes}
        spec.pop("priorityClassName", None)  # none of these classes is there
        body = {"metadata": {"name": "pod", "labels": dict(pod.labels)}, "spec": spec}
        server.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", body, dryRun="All")


def test_the_restricted_standard_is_enforced(server: ApiServer) -> None:
    spec = {"containers": [{"name": "free", "image": "free:1"}]}
    body: dict[str, Any] = {"metadata": {"name": "pod"}, "spec": spec}
    with pytest.raises(ApiRefusedError, match='violates PodSecurity "restricted:latest"'):
        server.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", body, dryRun="All")


FILES = [file for folder in ("base", "samples") for file in sorted((ROOT / "k8s" / folder).glob("*.yaml"))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_object_of_k8s_would_be_applied(server: ApiServer, file: Path) -> None:
    for item in yaml.safe_load_all(file.read_text()):
        if item["kind"] == "Kustomization":
            continue  # kustomize's own
        server.would_apply(path(item), item)


@pytest.mark.parametrize("release", ["queues", "r" * 53, "a-queue-2", "inferqueue"])
def test_every_name_of_a_release_is_one_of_kubernetes(server: ApiServer, release: str) -> None:
    for item in render(release=release):
        server.would_apply(path(item), item)


def test_names_that_look_like_numbers_stay_names(server: ApiServer) -> None:
    names = {
        "fullnameOverride": "queues",
        "serviceAccount": {"name": "1"},
        "redis": {
            "auth": {"existingSecret": "2"},
            "persistence": {"storageClass": "3"},
            "podLabels": {"a": "4"},
        },
        "proxy": {
            "apiKeys": {"existingSecret": "5", "key": "6"},
            "image": {"tag": "7"},
            "ingress": {"enabled": True, "className": "8", "tls": [{"secretName": "9"}]},
        },
        "workers": {"10": {"model": "11", "queue": "12", "models": {"existingClaim": "13", "subPath": "14"}}},
        "operator": {
            "fullnameOverride": "20",
            "serviceAccount": {"name": "15"},
            "redis": {"existingSecret": "16", "key": "17", "caKey": "18"},
        },
    }
    for item in render(values=names, release="19"):
        server.would_apply(path(item), item)


def test_what_stands_twice_in_the_values_stands_once_in_the_objects(server: ApiServer) -> None:
    twice = [{"name": "A", "value": "1"}, {"name": "JOB_TTL", "value": "60"}, {"name": "A", "value": "2"}]
    values = {"proxy": {"extraEnv": twice}, "workerDefaults": {"extraEnv": twice}, "operator": {"extraEnv": twice}}
    for item in render(values=values):
        server.would_apply(path(item), item)
