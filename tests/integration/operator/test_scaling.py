"""The operator scales a Deployment as its queue needs it."""

from functools import partial

import pytest

from inferqueue_core.queue import RedisJobQueue
from support.api_servers import ApiRefusedError, Namespace
from support.jobs import submit_jobs
from support.kubelet import Kubelet, ThreadWorker
from support.operators import Operator
from support.redis_servers import RedisServer
from support.waiting import wait_until


def is_followed(namespace: Namespace) -> bool:
    return namespace.condition("Ready") == ("True", "Reconciled")


def test_a_spike_scales_from_zero_in_one_step(namespace: Namespace, operator: Operator, queue: RedisJobQueue) -> None:
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=8, objective={"backlogPerReplica": 10})
    wait_until(lambda: is_followed(namespace), what="the queue is followed")
    submit_jobs(queue, 45)
    wait_until(lambda: namespace.replicas() == 5, what="five replicas")
    wait_until(lambda: namespace.status().get("desiredReplicas") == 5, what="the status says so")
    assert namespace.status()["backlog"] == 45
    wait_until(lambda: namespace.reasons() == ["ActivatedFromZero"], what="one event")


def test_a_spike_stops_at_the_maximum_and_says_so(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue
) -> None:
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=3, objective={"backlogPerReplica": 1})
    submit_jobs(queue, 10)
    wait_until(lambda: namespace.replicas() == 3, what="three replicas")
    wait_until(lambda: namespace.condition("ScalingLimited") == ("True", "TooManyReplicas"))
    assert namespace.status()["decision"]["reason"] == "Maximum"


def test_to_work_and_back_to_zero(
    namespace: Namespace, hasty_operator: Operator, queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=4)
    with Kubelet(namespace, redis_server, partial(_worker, redis_server)) as kubelet:
        for jobs in (30, 60):
            submit_jobs(queue, 30)
            wait_until(lambda: namespace.replicas() > 0, what="workers come")
            _await_completed(queue, jobs)
            wait_until(lambda: namespace.replicas() == 0 and kubelet.running == 0, 60, "workers go")
        assert not any(busy for _, busy in kubelet.deleted)
    wait_until(lambda: namespace.reasons().count("ScaledToZero") == 2, what="an event each time")


def _await_completed(queue: RedisJobQueue, jobs: int) -> None:
    wait_until(lambda: queue.observe().counters.get("completed") == jobs, what="all jobs done")


def _worker(redis: RedisServer, name: str) -> ThreadWorker:
    return ThreadWorker(redis.url, name, 0.05)


def test_an_edit_takes_effect_at_once(namespace: Namespace, operator: Operator, queue: RedisJobQueue) -> None:
    namespace.create_deployment()
    namespace.create_queue()
    wait_until(lambda: is_followed(namespace), what="the queue is followed")
    namespace.patch("inferencequeues", "iris", {"spec": {"minReplicas": 2}})
    wait_until(lambda: namespace.replicas() == 2, what="the new minimum")
    wait_until(lambda: namespace.status()["observedGeneration"] == 2)
    assert namespace.condition("ScalingLimited") == ("True", "TooFewReplicas")


def test_suspend_holds_the_replicas(namespace: Namespace, hasty_operator: Operator, queue: RedisJobQueue) -> None:
    namespace.create_deployment()
    namespace.create_queue(suspend=True, objective={"backlogPerReplica": 1}, maxReplicas=5)
    wait_until(lambda: namespace.condition("ScalingActive") == ("False", "Suspended"))
    submit_jobs(queue, 5)
    wait_until(lambda: namespace.status().get("backlog") == 5, what="the backlog is seen all the same")
    assert namespace.replicas() == 0
    namespace.patch("inferencequeues", "iris", {"spec": {"suspend": False}})
    wait_until(lambda: namespace.replicas() == 5, what="five replicas")
    wait_until(lambda: {"Suspended", "Resumed"} <= set(namespace.reasons()), what="events of both")


def test_a_deleted_queue_is_gone_at_once_and_its_deployment_left_alone(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue
) -> None:
    namespace.create_deployment(replicas=1)
    namespace.create_queue(maxReplicas=5, objective={"backlogPerReplica": 1}, minReplicas=1)
    wait_until(lambda: is_followed(namespace), what="the queue is followed")
    assert "finalizers" not in namespace.get("inferencequeues", "iris")["metadata"]
    namespace.delete("inferencequeues", "iris")
    with pytest.raises(ApiRefusedError, match="404"):
        namespace.get("inferencequeues", "iris")
    namespace.create_deployment("other")
    namespace.create_queue("other", target="other", queue="other", minReplicas=1)
    submit_jobs(queue, 5)
    wait_until(lambda: namespace.replicas("other") == 1, what="the operator goes on")
    assert namespace.replicas() == 1


def test_naive_workers_are_scaled_too(
    namespace: Namespace, hasty_operator: Operator, redis_server: RedisServer
) -> None:
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=5, objective={"backlogPerReplica": 2})
    with redis_server.client() as client, Kubelet(namespace, redis_server) as kubelet:
        client.lpush("predict_queue", *(f"job-{number}" for number in range(10)))
        wait_until(lambda: kubelet.running == 5, what="five workers")
        client.ltrim("predict_queue", 1, 0)
        wait_until(lambda: kubelet.running == 0, 60, "they go once nothing has waited for a while")
