"""The sample objects in k8s/samples: an API server takes each as it is, and the operator can follow it."""

from pathlib import Path

import pytest
import yaml

from inferqueue_operator.resource import parse
from support.api_servers import ApiServer, Body, Namespace

SAMPLES = Path(__file__).parents[3] / "k8s" / "samples"
PATHS = {
    "InferenceQueue": ("inferqueue.dev/v1alpha1", "/apis/inferqueue.dev/v1alpha1", "inferencequeues"),
    "Role": ("rbac.authorization.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
}


def objects(sample: str) -> list[Body]:
    return [body for body in yaml.safe_load_all((SAMPLES / sample).read_text()) if body]


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.glob("*.yaml")))
def test_the_api_server_takes_the_sample(server: ApiServer, namespace: Namespace, sample: str) -> None:
    for body in objects(sample):
        version, root, plural = PATHS[body["kind"]]
        assert body["apiVersion"] == version
        path = f"{root}/namespaces/{namespace.name}/{plural}"
        taken = server.request("POST", path, body, fieldValidation="Strict")
        if body["kind"] == "InferenceQueue":
            assert parse(taken).problem == ""


def test_the_samples_show_each_kind_of_queue() -> None:
    specs = {path.stem: objects(path.name)[0]["spec"] for path in SAMPLES.glob("*.yaml")}
    assert set(specs) == {"deadline", "backlog", "scale-to-zero", "external-redis"}
    assert "maxWaitSeconds" in specs["deadline"]["objective"]
    assert "backlogPerReplica" in specs["backlog"]["objective"]
    assert specs["scale-to-zero"]["minReplicas"] == 0


def test_the_sample_with_a_secret_lets_the_operator_read_that_one_and_no_other() -> None:
    queue, role, binding = objects("external-redis.yaml")
    (rule,) = role["rules"]
    assert rule == {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [queue["spec"]["queue"]["redis"]["secretRef"]["name"]],
        "verbs": ["get"],
    }
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
