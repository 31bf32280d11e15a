"""What the programs' service accounts may do, asked of the API server."""

import pytest

from support.kubectl import Kubectl
from support.releases import Release

pytestmark = pytest.mark.e2e

QUEUES = "inferencequeues.inferqueue.dev"
DEPLOYMENTS = "deployments.apps"
MAY = [
    *(("list", QUEUES), ("watch", QUEUES), ("patch", QUEUES, "status")),
    *(("list", DEPLOYMENTS), ("watch", DEPLOYMENTS), ("get", DEPLOYMENTS, "scale"), ("patch", DEPLOYMENTS, "scale")),
    *(("list", "pods"), ("watch", "pods"), ("patch", "pods"), ("create", "events")),
    ("list", "horizontalpodautoscalers.autoscaling"),
]
MAY_NOT = [
    *(("list", "secrets"), ("watch", "secrets"), ("create", "secrets"), ("get", "secrets"), ("get", "configmaps")),
    *(("delete", "pods"), ("create", "pods"), ("create", "pods", "exec"), ("get", "pods", "log")),
    *(("patch", DEPLOYMENTS), ("create", DEPLOYMENTS), ("delete", DEPLOYMENTS)),
    *(("create", QUEUES), ("patch", QUEUES), ("delete", QUEUES)),
    *(("create", "serviceaccounts", "token"), ("escalate", "roles.rbac.authorization.k8s.io"), ("*", "*")),
]


def _account(release: Release, component: str) -> str:
    (pod, *_) = release.pods(component)
    return f"system:serviceaccount:{release.kubectl.namespace}:{pod['spec']['serviceAccountName']}"


def test_the_operator_may_do_what_it_needs(release: Release) -> None:
    user = _account(release, "operator")
    assert [asked for asked in MAY if not release.kubectl.may(user, *asked)] == []


def test_the_operator_may_do_nothing_else(release: Release) -> None:
    user = _account(release, "operator")
    assert [asked for asked in MAY_NOT if release.kubectl.may(user, *asked)] == []


def test_the_operator_may_read_the_one_secret_that_holds_its_queues_address(release: Release) -> None:
    user = _account(release, "operator")
    spec = release.kubectl.json("get", "inferencequeue", release.worker("iris"))["spec"]
    assert release.kubectl.may(user, "get", f"secrets/{spec['queue']['redis']['secretRef']['name']}")
    assert not release.kubectl.may(user, "get", "secrets/another")


def test_the_operator_may_do_nothing_in_another_namespace(release: Release) -> None:
    user = _account(release, "operator")
    other: Kubectl = release.kubectl.within("default")
    assert [asked for asked in MAY if other.may(user, *asked)] == []


@pytest.mark.parametrize("component", ["proxy", "redis"])
def test_the_other_programs_may_do_nothing_and_hold_no_token(release: Release, component: str) -> None:
    user = _account(release, component)
    assert [asked for asked in (*MAY, *MAY_NOT) if release.kubectl.may(user, *asked)] == []
    (pod, *_) = release.pods(component)
    mounts = [mount["mountPath"] for container in pod["spec"]["containers"] for mount in container["volumeMounts"]]
    assert not [path for path in mounts if "serviceaccount" in path]
