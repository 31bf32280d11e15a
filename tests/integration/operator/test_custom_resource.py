"""The custom resource on a real API server: what is refused and how, what is filled in, what `kubectl get` shows."""

import copy
from typing import Any

import pytest

from inferqueue_core.queue import RedisJobQueue
from support.api_servers import ApiRefusedError, ApiServer, Body, Namespace
from support.operators import Operator
from support.waiting import wait_until

GOOD: Body = {"queue": {"name": "predict_queue"}, "scaleTargetRef": {"name": "worker"}}


@pytest.fixture(autouse=True)
def _only_real(server: ApiServer) -> None:
    if not server.real:
        pytest.skip("KUBEBUILDER_ASSETS names no kube-apiserver and etcd, and the emulated one validates nothing")


def create(namespace: Namespace, spec: Body) -> Body:
    path = f"/apis/inferqueue.dev/v1alpha1/namespaces/{namespace.name}/inferencequeues"
    kind = {"apiVersion": "inferqueue.dev/v1alpha1", "kind": "InferenceQueue"}
    body = kind | {"metadata": {"name": "iris"}, "spec": spec}
    return namespace.server.request("POST", path, body, fieldValidation="Strict")


def spec_with(path: str, value: Any) -> Body:
    spec = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    part = spec
    for parent in parents:
        part = part.setdefault(parent, {})
    part[last] = value
    return spec


def test_defaults_are_filled_in(namespace: Namespace) -> None:
    assert create(namespace, GOOD)["spec"] == {
        "queue": {"name": "predict_queue"},
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
        "minReplicas": 0,
        "maxReplicas": 20,
        "objective": {"maxWaitSeconds": 30},
        "fallback": {"afterSeconds": 60, "replicas": 2},
        "suspend": False,
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("queue.name", "team-1:iris.v2"),
        ("queue.redis", {"url": "rediss://redis.example:6380/1"}),
        ("queue.redis", {"url": "redis://user@[fd00::1]:6379"}),
        ("queue.redis", {"url": "redis://redis?db=1"}),
        ("queue.redis", {"url": "unix:///run/redis.sock"}),
        ("queue.redis", {"secretRef": {"name": "redis"}}),
        ("queue.redis", {"secretRef": {"name": "redis", "key": "address", "caKey": "ca.crt"}}),
        ("objective", {"backlogPerReplica": 10}),
        ("fallback", {"replicas": 0}),
        ("maxReplicas", 1),
        ("suspend", True),
    ],
)
def test_good_objects(namespace: Namespace, path: str, value: Any) -> None:
    create(namespace, spec_with(path, value))


BAD = [
    ("minReplicas", 21, "minReplicas must not exceed maxReplicas, which is 20 when it is not given"),
    ("minReplicas", -1, "spec.minReplicas in body should be greater than or equal to 0"),
    ("maxReplicas", 0, "spec.maxReplicas in body should be greater than or equal to 1"),
    ("maxReplicas", 10**9, "spec.maxReplicas in body should be less than or equal to 1000"),
    ("maxReplicas", "many", 'spec.maxReplicas in body must be of type integer: "string"'),
    ("objective", {}, "objective takes exactly one of maxWaitSeconds and backlogPerReplica"),
    (
        "objective",
        {"maxWaitSeconds": 30, "backlogPerReplica": 10},
        "objective takes exactly one of maxWaitSeconds and backlogPerReplica",
    ),
    ("objective", {"maxWaitSeconds": 0}, "spec.objective.maxWaitSeconds in body should be greater than or equal to 1"),
    ("fallback", {"afterSeconds": -5}, "spec.fallback.afterSeconds in body should be greater than or equal to 1"),
    ("queue.name", "two words", "queue.name may hold letters, digits, '_', '.', ':' and '-' only"),
    ("queue.name", "models", "queue.name must not be 'models' or begin with 'job:' or 'idem:'"),
    ("queue.name", "iris:leases", "queue.name must not end like another key of a queue"),
    ("queue.name", "", "spec.queue.name in body should be at least 1 chars long"),
    ("queue.redis", {}, "redis takes exactly one of url and secretRef"),
    ("queue.redis", {"url": "http://redis"}, "redis.url must begin with redis://, rediss:// or unix://"),
    ("queue.redis", {"url": "redis://"}, "redis.url must begin with redis://, rediss:// or unix://"),
    ("queue.redis", {"url": "redis://:6379"}, "redis.url must name a host"),
    ("queue.redis", {"url": "redis://redis:port"}, "redis.url must name a host"),
    ("queue.redis", {"url": "redis://redis/predict_queue"}, "redis.url must name a host"),
    ("queue.redis", {"url": "redis://one:6379,two:6379"}, "redis.url must name a host"),
    ("queue.redis", {"url": "redis://redis\nother"}, "redis.url must name a host"),
    ("queue.redis", {"url": "redis://redis", "secretRef": {"name": "redis"}}, "exactly one of url and secretRef"),
    ("queue.redis", {"secretRef": {"name": "../../other/secrets/redis"}}, "must be a Secret's name"),
    ("queue.redis", {"secretRef": {"name": "redis", "key": "a/b"}}, "redis.secretRef.key may hold letters, digits"),
    ("queue.redis", {"secretRef": {"name": "redis", "caKey": "a b"}}, "redis.secretRef.caKey may hold letters, digits"),
    ("queue.redis", {"url": "redis://:secret@redis"}, "redis.url must not hold a password"),
    ("queue.redis", {"url": "redis://redis/0?password=secret"}, "redis.url must not hold a password"),
    ("scaleTargetRef.kind", "StatefulSet", 'Unsupported value: "StatefulSet": supported values: "Deployment"'),
    ("scaleTargetRef.apiVersion", "apps/v2", 'Unsupported value: "apps/v2": supported values: "apps/v1"'),
    ("scaleTargetRef.name", "Not A Name", "scaleTargetRef.name must be a Deployment's name"),
    ("replicas", 3, 'unknown field "spec.replicas"'),
    ("objective.maxWait", 30, 'unknown field "spec.objective.maxWait"'),
]


@pytest.mark.parametrize(("path", "value", "sentence"), BAD)
def test_bad_objects_are_refused_with_a_sentence(namespace: Namespace, path: str, value: Any, sentence: str) -> None:
    with pytest.raises(ApiRefusedError) as refused:
        create(namespace, spec_with(path, value))
    assert sentence in str(refused.value)


@pytest.mark.parametrize("missing", ["queue", "scaleTargetRef"])
def test_what_is_required(namespace: Namespace, missing: str) -> None:
    with pytest.raises(ApiRefusedError, match=rf"spec\.{missing}: Required value"):
        create(namespace, {name: part for name, part in GOOD.items() if name != missing})


def test_another_kind_of_objective_takes_the_place_of_the_default(namespace: Namespace) -> None:
    create(namespace, GOOD)
    with pytest.raises(ApiRefusedError, match="to change from one to the other, set the former to null"):
        namespace.patch("inferencequeues", "iris", {"spec": {"objective": {"backlogPerReplica": 5}}})
    change = {"objective": {"backlogPerReplica": 5, "maxWaitSeconds": None}}
    assert namespace.patch("inferencequeues", "iris", {"spec": change})["spec"]["objective"] == {"backlogPerReplica": 5}


def test_columns(namespace: Namespace, operator: Operator, queue: RedisJobQueue) -> None:
    namespace.create_deployment("worker", replicas=1)
    create(namespace, GOOD | {"minReplicas": 1})
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    table = namespace.table("inferencequeues")
    columns = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert columns == ["Name", "Target", "Min", "Max", "Backlog", "Replicas", "Desired", "Ready", "Age"]
    wide = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 1]
    assert wide == ["Queue", "Reason", "Decision"]
    (row,) = table["rows"]
    assert row["cells"][:8] == ["iris", "worker", 1, 20, 0, 1, 1, "True"]


def test_short_name_and_category(server: ApiServer) -> None:
    resources = server.request("GET", "/apis/inferqueue.dev/v1alpha1")["resources"]
    (listed,) = (resource for resource in resources if resource["name"] == "inferencequeues")
    assert (listed["shortNames"], listed["categories"], listed["namespaced"]) == (["iq"], ["inference"], True)
