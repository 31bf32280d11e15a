"""What people do to an InferenceQueue and its Deployment while it is followed."""

from collections.abc import Callable

import pytest

from inferqueue_core.jobs import WorkerReport
from inferqueue_core.queue import RedisJobQueue
from inferqueue_operator.workloads import CHEAP, DELETION_COST
from support.api_servers import Body, Namespace
from support.jobs import submit_jobs
from support.kubelet import Idler, Kubelet
from support.operators import Operator
from support.redis_servers import RedisServer
from support.waiting import wait_until

BACKLOG: Body = {"objective": {"backlogPerReplica": 1}, "maxReplicas": 5}
CONFLICT = ("False", "ConflictingAutoscaler")
FOLLOWED = ("True", "Reconciled")


class Starter(Idler):
    """A container that becomes ready when the test says so."""

    ready = False

    def is_ready(self) -> bool:
        return self.ready


def decision(namespace: Namespace) -> str:
    return str(namespace.status().get("decision", {}).get("reason"))


def test_the_first_worker_of_a_new_deployment_stays_until_it_has_been_ready(
    namespace: Namespace, hasty_operator: Operator, queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    starters: list[Starter] = []

    def start(name: str) -> Idler:
        if name.startswith("other"):
            return Idler(name)
        starters.append(Starter(name))
        return starters[-1]

    namespace.create_deployment(replicas=1)
    with Kubelet(namespace, redis_server, start):
        namespace.create_queue()
        wait_until(lambda: decision(namespace) == "FirstStart")
        namespace.create_deployment("other", replicas=1)
        namespace.create_queue("other", target="other", queue="other")
        wait_until(
            lambda: namespace.replicas("other") == 0, what="a queue that is quiet for less long loses its worker"
        )
        (worker,) = wait_until(lambda: _pods(namespace, 1), what="end of the other one")
        assert namespace.replicas() == 1
        starters[0].ready = True
        queue.extend(worker, WorkerReport(), [])
        wait_until(lambda: namespace.replicas() == 0, what="it goes like any other once it was ready")


def test_an_object_that_is_deleted_and_made_anew_at_once_is_followed(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue
) -> None:
    namespace.create_deployment()
    namespace.create_queue(**BACKLOG)
    wait_until(lambda: namespace.condition("Ready") == FOLLOWED)
    for number in range(1, 4):
        namespace.delete("inferencequeues", "iris")
        namespace.create_queue(**BACKLOG)
        submit_jobs(queue, 1)
        _await_replicas(namespace, number)
    wait_until(lambda: namespace.condition("Ready") == FOLLOWED)


def _await_replicas(namespace: Namespace, replicas: int) -> None:
    wait_until(lambda: namespace.replicas() == replicas, what=f"{replicas} replicas")


def test_two_objects_for_one_queue_leave_it_alone_until_one_goes(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    for name in ("iris", "twin"):
        namespace.create_deployment(name)
        namespace.create_queue(name, target=name, **BACKLOG)
    address = {"queue": {"redis": {"url": redis_server.url}}}
    namespace.patch("inferencequeues", "twin", {"spec": address})
    wait_until(lambda: {namespace.condition("Ready", name) for name in ("iris", "twin")} == {CONFLICT})
    message = namespace.status("iris")["conditions"][0]["message"]
    assert message.startswith("queue predict_queue at unix:")
    assert message.endswith(f"also scaled for by InferenceQueue {namespace.name}/twin; delete all but one of them")
    submit_jobs(queue, 2)
    wait_until(lambda: "ConflictingAutoscaler" in namespace.reasons("iris"))
    assert (namespace.replicas("iris"), namespace.replicas("twin")) == (0, 0)
    namespace.delete("inferencequeues", "twin")
    wait_until(lambda: namespace.replicas("iris") == 2, what="two replicas")


def test_workers_barred_on_a_queue_that_is_no_longer_followed_may_claim_again(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    namespace.create_deployment(replicas=1)
    with Kubelet(namespace, redis_server):
        namespace.create_queue(minReplicas=1, suspend=True)
        wait_until(lambda: namespace.condition("Ready") == FOLLOWED)
        name = wait_until(lambda: [pod["metadata"]["name"] for pod in namespace.all("pods")])[0]
        queue.retire([name])
        namespace.patch("inferencequeues", "iris", {"spec": {"queue": {"name": "another"}}})
        wait_until(lambda: not queue.observe().retired, what="nobody is barred any more")


def test_more_replicas_than_allowed_are_given_up(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    namespace.create_deployment(replicas=4)
    with Kubelet(namespace, redis_server) as kubelet:
        submit_jobs(queue, 5)
        names = wait_until(lambda: _pods(namespace, 4))
        for name in names:
            queue.extend(name, WorkerReport(), [])
        namespace.create_queue(**BACKLOG | {"maxReplicas": 3})
        wait_until(lambda: namespace.replicas() == 3, what="three replicas")
        namespace.patch("inferencequeues", "iris", {"spec": {"maxReplicas": 1}})
        wait_until(lambda: namespace.replicas() == 1 and kubelet.running == 1, what="one replica")
        assert not any(busy for _, busy in kubelet.deleted)


def _pods(namespace: Namespace, count: int) -> list[str]:
    names = [str(pod["metadata"]["name"]) for pod in namespace.all("pods")]
    return names if len(names) == count else []


def test_a_deployment_made_anew_is_picked_up(namespace: Namespace, operator: Operator, queue: RedisJobQueue) -> None:
    namespace.create_deployment()
    namespace.create_queue(**BACKLOG)
    submit_jobs(queue, 2)
    wait_until(lambda: namespace.replicas() == 2, what="two replicas")
    namespace.delete("deployments", "worker")
    namespace.create_deployment()
    wait_until(lambda: namespace.replicas() == 2, what="two replicas again")


@pytest.mark.parametrize("suspend", [False, True])
def test_marks_that_redis_has_lost_do_not_bar_a_pod_for_ever(
    namespace: Namespace, operator: Operator, redis_server: RedisServer, suspend: bool
) -> None:
    namespace.create_deployment(replicas=2)
    with Kubelet(namespace, redis_server), redis_server.client() as client:
        names = wait_until(lambda: _pods(namespace, 2))
        for name in names:
            namespace.patch("pods", name, {"metadata": {"annotations": {DELETION_COST: CHEAP}}})
        client.flushall()
        namespace.create_queue(**BACKLOG | {"minReplicas": 2, "suspend": suspend})

        def unmarked() -> bool:
            return all(not pod["metadata"].get("annotations") for pod in namespace.all("pods"))

        wait_until(unmarked, what="no pod is marked")


def test_an_address_with_options_that_are_none_is_reported(namespace: Namespace, operator: Operator) -> None:
    namespace.create_deployment()
    namespace.create_queue()
    address = {"url": "redis://h:6379/0?socket_timeout=soon"}
    namespace.patch("inferencequeues", "iris", {"spec": {"queue": {"redis": address}}})
    wait_until(lambda: namespace.condition("Ready") == ("False", "SpecInvalid"))
    assert "the address of Redis cannot be used" in namespace.status()["conditions"][0]["message"]


def test_a_namespace_that_may_not_be_seen_does_not_keep_another_from_being_served(
    namespace: Namespace, start_operator: Callable[..., Operator], queue: RedisJobQueue
) -> None:
    start_operator(WATCH_NAMESPACES=f"{namespace.name},of-somebody-else")
    namespace.create_deployment()
    namespace.create_queue(**BACKLOG)
    submit_jobs(queue, 2)
    wait_until(lambda: namespace.replicas() == 2, what="two replicas")
