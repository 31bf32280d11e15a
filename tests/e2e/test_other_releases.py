"""Releases beside the first one: on an external Redis without an operator, and whole ones that are removed again."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.clusters import Cluster
from support.figures import Figures
from support.gateways import Gateway, ModelQueue
from support.kubectl import Body, Kubectl
from support.releases import Release
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

PASSWORD = "a-password-of-its-own"
SECOND_HOST = "second.inferqueue.test"

# One proxy without a way in from outside, and one worker: what is whole, and no more.
_SMALL: dict[str, Any] = {"proxy": {"replicas": 1}, "workers": {"iris": {"queue": "predict_queue"}}}
_OURS = "app.kubernetes.io/part-of=inferqueue"


def _external_redis() -> tuple[Body, Body]:
    labels = {"app": "redis-elsewhere"}
    container = {
        "name": "redis",
        "image": "redis:8.0",
        "args": ["redis-server", "--requirepass", PASSWORD, "--maxmemory-policy", "noeviction", "--appendonly", "yes"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    security = {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": security, "volumes": [{"name": "data", "emptyDir": {}}]}
    metadata = {"name": "redis-elsewhere", "labels": labels}
    return (
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "redis-elsewhere"},
            "spec": {"selector": labels, "ports": [{"port": 6379}]},
        },
    )


@pytest.fixture(scope="module")
def redis_secret(make_namespace: Callable[[str], Kubectl], release: Release) -> str:
    """The Secret, in the release's namespace, with the address of a Redis in another namespace."""
    elsewhere = make_namespace("inferqueue-redis")
    elsewhere.apply(*_external_redis())
    elsewhere.run("wait", "pod/redis-elsewhere", "--for=condition=Ready", "--timeout=60s")
    url = f"redis://:{PASSWORD}@redis-elsewhere.inferqueue-redis.svc:6379/0"
    metadata = {"name": "redis-elsewhere"}
    release.kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"url": url}})
    return "redis-elsewhere"


@pytest.fixture
def second(release: Release, values: dict[str, Any], redis_secret: str) -> Iterator[Release]:
    """A release without an operator, on the external Redis, beside the first one in its namespace."""
    (operator,) = release.pods("operator")
    account = {"name": operator["spec"]["serviceAccountName"]}
    second = Release(release.kubectl, "second")
    ingress = values["proxy"]["ingress"] | {"hosts": [SECOND_HOST]}
    second.install(
        values
        | {
            "operator": {"enabled": False},
            "operatorAccess": {"serviceAccount": account},
            "redis": {"enabled": False},
            "externalRedis": {"existingSecret": redis_secret},
            "proxy": values["proxy"] | {"replicas": 1, "ingress": ingress},
            "workers": {"iris": None, "timed": {"predictor": "timed_predictor:make"}},
        }
    )
    yield second
    second.uninstall()


def test_a_second_release_without_an_operator_works_on_an_external_redis(
    cluster: Cluster, second: Release, figures: Figures
) -> None:
    gateway = Gateway(cluster.port, SECOND_HOST)
    gateway.await_answers()
    queue = ModelQueue(gateway, "timed", figures)
    wait_until(lambda: second.replicas("timed") == 0, 90, "the operator of the first release scales it", every=0.5)
    queue.all_completed(queue.submit(40, [0.25]))
    gateway.close()


def test_helm_uninstall_leaves_nothing_hanging(
    make_namespace: Callable[[str], Kubectl], values: dict[str, Any]
) -> None:
    kubectl = make_namespace("inferqueue-passing")
    release = Release(kubectl, "passing")
    release.install(values | _SMALL)
    release.uninstall()
    kinds = "all,inferencequeues,ingresses,networkpolicies,roles,rolebindings,poddisruptionbudgets,configmaps"
    wait_until(
        lambda: not kubectl.run("get", kinds, "--selector", _OURS, "--output", "name").strip(),
        60,
        "everything is gone",
        every=0.5,
    )
    kept = kubectl.run("get", "secrets,persistentvolumeclaims", "--selector", _OURS, "--output", "name").split()
    assert kept == [f"secret/{release.fullname}-redis"], "only the password outlives the release"
    kubectl.run("delete", "namespace", kubectl.namespace, "--timeout=60s")


def test_a_namespace_goes_with_everything_that_runs_in_it(
    make_namespace: Callable[[str], Kubectl], values: dict[str, Any]
) -> None:
    kubectl = make_namespace("inferqueue-whole")
    Release(kubectl, "whole").install(values | _SMALL)
    kubectl.run("delete", "namespace", kubectl.namespace, "--timeout=90s")
