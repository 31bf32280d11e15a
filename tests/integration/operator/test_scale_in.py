"""Scale-in takes idle workers only, and lets them go in order."""

from collections.abc import Iterator

import pytest

from inferqueue_core.jobs import ClaimedJob, Completed, WorkerReport
from inferqueue_core.queue import RedisJobQueue
from support.api_servers import Body, Namespace
from support.jobs import submit_jobs
from support.kubelet import COST, Kubelet
from support.operators import Operator
from support.redis_servers import RedisServer
from support.waiting import wait_until

QUEUE: Body = {"objective": {"backlogPerReplica": 1}, "maxReplicas": 4}


class Crew:
    """Four workers whose heartbeats the test sends itself."""

    def __init__(self, queue: RedisJobQueue) -> None:
        self._queue = queue
        self.held: dict[str, list[ClaimedJob]] = {f"worker-{number}": [] for number in range(1, 5)}

    def beat(self) -> bool:
        for name, jobs in self.held.items():
            self._queue.extend(name, WorkerReport(in_flight=len(jobs)), jobs)
        return True

    def claim(self, name: str) -> bool:
        """Claim one job; False when the worker is retired."""
        jobs = self._queue.claim(name, 1, 1 << 20).jobs
        self.held[name] += jobs
        self.beat()
        return bool(jobs)


@pytest.fixture
def crew(queue: RedisJobQueue) -> Crew:
    return Crew(queue)


@pytest.fixture
def kubelet(namespace: Namespace, redis_server: RedisServer, operator: Operator) -> Iterator[Kubelet]:
    namespace.create_deployment()
    with Kubelet(namespace, redis_server) as running:
        yield running


def _fill(namespace: Namespace, queue: RedisJobQueue, crew: Crew, kubelet: Kubelet) -> None:
    """Bring four workers up, each of which holds one job."""
    namespace.create_queue(**QUEUE)
    submit_jobs(queue, 4)
    wait_until(lambda: kubelet.running == 4, what="four pods")
    assert all(crew.claim(name) for name in crew.held)


def test_busy_workers_stay_and_exactly_the_idle_ones_go(
    namespace: Namespace, queue: RedisJobQueue, crew: Crew, kubelet: Kubelet
) -> None:
    _fill(namespace, queue, crew, kubelet)
    for name in ("worker-2", "worker-4"):
        queue.finish([_done(job) for job in crew.held[name]])
        crew.held[name] = []
    wait_until(lambda: crew.beat() and namespace.replicas() == 2, 60, "two replicas")
    wait_until(lambda: kubelet.running == 2, what="two pods")
    assert sorted(kubelet.deleted) == [("worker-2", False), ("worker-4", False)]


def _done(job: ClaimedJob) -> Completed:
    return Completed(job, b"1")


def test_marked_workers_that_nothing_deletes_work_again(
    namespace: Namespace, queue: RedisJobQueue, crew: Crew, kubelet: Kubelet
) -> None:
    _fill(namespace, queue, crew, kubelet)
    queue.retire(["worker-9"])
    namespace.patch("pods", "worker-1", {"metadata": {"annotations": {COST: "-1000"}}})
    queue.finish([_done(job) for job in crew.held["worker-1"]])
    crew.held["worker-1"] = []
    assert queue.retire(["worker-1"]) == {"worker-1"}
    submit_jobs(queue, 1)
    wait_until(lambda: crew.beat() and not queue.observe().retired, what="nobody is retired any more")
    wait_until(lambda: COST not in namespace.get("pods", "worker-1")["metadata"].get("annotations", {}))
    assert crew.claim("worker-1")
    assert kubelet.deleted == []
