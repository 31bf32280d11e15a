"""Targets that are missing or that others scale, and queues that cannot be followed: reported, and left alone."""

import base64
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from inferqueue_core.connection import connect
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.api_servers import Body, Namespace
from support.jobs import submit_jobs
from support.operators import Operator
from support.ports import free_port
from support.redis_servers import RedisServer
from support.waiting import wait_until

BACKLOG: Body = {"objective": {"backlogPerReplica": 1}, "maxReplicas": 5}


def test_a_missing_target_is_reported_and_picked_up_when_it_appears(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue
) -> None:
    namespace.create_queue(**BACKLOG)
    submit_jobs(queue, 3)
    wait_until(lambda: namespace.condition("Ready") == ("False", "ScaleTargetNotFound"))
    namespace.create_deployment()
    wait_until(lambda: namespace.replicas() == 3, what="three replicas")
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    namespace.delete("deployments", "worker")
    wait_until(lambda: namespace.condition("Ready") == ("False", "ScaleTargetNotFound"))


def test_two_queues_on_one_target_leave_it_alone_until_one_goes(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue
) -> None:
    namespace.create_deployment()
    namespace.create_queue("iris", **BACKLOG)
    namespace.create_queue("rival", queue="another", **BACKLOG)
    conflict = ("False", "ConflictingAutoscaler")
    wait_until(lambda: {namespace.condition("Ready", name) for name in ("iris", "rival")} == {conflict})
    submit_jobs(queue, 2)
    wait_until(lambda: "ConflictingAutoscaler" in namespace.reasons("iris"))
    assert namespace.replicas() == 0
    namespace.delete("inferencequeues", "rival")
    wait_until(lambda: namespace.replicas() == 2, what="two replicas")


def test_a_target_of_an_autoscaler_is_left_alone(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue
) -> None:
    namespace.create_deployment()
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}
    spec = {"scaleTargetRef": target, "maxReplicas": 3, "metrics": [_cpu()]}
    namespace.create("horizontalpodautoscalers", {"metadata": {"name": "hpa"}, "spec": spec})
    namespace.create_queue(**BACKLOG)
    submit_jobs(queue, 2)
    wait_until(lambda: namespace.condition("Ready") == ("False", "ConflictingAutoscaler"))
    message = namespace.status()["conditions"][0]["message"]
    assert message == "Deployment worker is also scaled by HorizontalPodAutoscaler hpa; delete all but one of them"
    assert namespace.replicas() == 0
    namespace.delete("horizontalpodautoscalers", "hpa")
    wait_until(lambda: namespace.replicas() == 2, what="two replicas")
    namespace.create("horizontalpodautoscalers", {"metadata": {"name": "later"}, "spec": spec})
    wait_until(lambda: namespace.condition("Ready") == ("False", "ConflictingAutoscaler"), what="it is seen too")
    submit_jobs(queue, 2)
    wait_until(lambda: namespace.reasons().count("ConflictingAutoscaler") == 2)
    assert namespace.replicas() == 2


def _cpu() -> Body:
    target = {"type": "Utilization", "averageUtilization": 50}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def test_an_address_from_a_secret(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["redis"], "verbs": ["get"]}
    namespace.allow({"metadata": {"name": "redis-address"}, "rules": [rule]})
    namespace.create_deployment()
    spec = {"name": "predict_queue", "redis": {"secretRef": {"name": "redis"}}}
    namespace.create_queue(**BACKLOG)
    namespace.patch("inferencequeues", "iris", {"spec": {"queue": spec}})
    wait_until(lambda: namespace.condition("Ready") == ("False", "SecretNotFound"))
    address = base64.b64encode(redis_server.url.encode()).decode()
    namespace.create("secrets", {"metadata": {"name": "redis"}, "data": {"url": address}})
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    submit_jobs(queue, 2)
    wait_until(lambda: namespace.replicas() == 2, what="two replicas")


def test_a_secret_that_the_role_does_not_name_is_forbidden(namespace: Namespace, operator: Operator) -> None:
    namespace.create_deployment()
    namespace.create_queue()
    change = {"queue": {"redis": {"secretRef": {"name": "redis"}}}}
    namespace.patch("inferencequeues", "iris", {"spec": change})
    wait_until(lambda: namespace.condition("Ready") == ("False", "Forbidden"))


@pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0", "redis://nowhere.invalid:6379/0"])
def test_a_dead_redis_of_one_queue_does_not_delay_the_others(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue, address: str
) -> None:
    for number in range(5):
        namespace.create_deployment(f"lost-{number}")
        namespace.create_queue(f"lost-{number}", target=f"lost-{number}", queue=f"lost-{number}")
        change = {"queue": {"redis": {"url": address}}}
        namespace.patch("inferencequeues", f"lost-{number}", {"spec": change})
    namespace.create_deployment()
    namespace.create_queue(**BACKLOG)
    wait_until(lambda: namespace.condition("Ready", "lost-4") == ("False", "QueueUnreachable"))
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    submit_jobs(queue, 2)
    wait_until(lambda: namespace.replicas() == 2, 5, "two replicas, at once")


SLOW_NAMES = """\
import socket, time
look_up = socket.getaddrinfo
def slow(host, *rest, **options):
    if str(host).endswith(".slow"):
        time.sleep(120)
    return look_up("127.0.0.1" if str(host).endswith(".fine") else host, *rest, **options)
socket.getaddrinfo = slow
"""


def test_names_that_nobody_resolves_delay_no_other_queue(
    namespace: Namespace,
    start_operator: Callable[..., Operator],
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES)
    # asyncio itself has up to 32 threads for all look-ups.
    for number in range(35):
        name = f"lost-{number}"
        namespace.create_deployment(name)
        namespace.create_queue(name, target=name, queue=name)
        address = {"queue": {"redis": {"url": f"redis://{name}.slow:6379/0"}}}
        namespace.patch("inferencequeues", name, {"spec": address})
    port = free_port()
    with RedisServer("--port", str(port)) as server, closing(connect(RedisSettings(redis_url=server.url))) as client:
        operator = start_operator(f"redis://redis.fine:{port}/0", PYTHONPATH=str(tmp_path))
        wait_until(lambda: namespace.condition("Ready", "lost-34") == ("False", "QueueUnreachable"))
        submit_jobs(RedisJobQueue(client, "predict_queue", QueuePolicy()), 2)
        namespace.create_deployment()
        namespace.create_queue(**BACKLOG)
        wait_until(lambda: namespace.replicas() == 2, 10, "two replicas, at once")
        assert operator.terminate(10) == 0
