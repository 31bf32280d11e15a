"""Scale-in takes idle workers only, and lets them go in order."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from inferqueue_core.jobs import ClaimedJob, Completed, WorkerReport
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from inferqueue_operator import reconciler
from inferqueue_operator.api import KubernetesApi
from inferqueue_operator.cluster import Cluster
from inferqueue_operator.metrics import OperatorMetrics
from inferqueue_operator.resource import parse
from inferqueue_operator.servers import RedisServers
from inferqueue_operator.supervisor import Supervisor
from inferqueue_operator.workloads import CHEAP, Pod, Target
from support.api_servers import Body, Namespace
from support.jobs import submit_jobs
from support.kubelet import COST, Idler, Kubelet
from support.loops import connections_closed
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


def test_a_busy_worker_stays_whatever_deletion_cost_somebody_else_gave_it(
    namespace: Namespace, queue: RedisJobQueue, crew: Crew, kubelet: Kubelet
) -> None:
    _fill(namespace, queue, crew, kubelet)
    namespace.patch("pods", "worker-1", {"metadata": {"annotations": {COST: "-2000000000"}}})
    queue.finish([_done(job) for job in crew.held["worker-3"]])
    crew.held["worker-3"] = []
    wait_until(lambda: crew.beat() and kubelet.running == 3, 60, "three pods")
    assert kubelet.deleted == [("worker-3", False)]


def test_marked_workers_that_nothing_deletes_work_again(
    namespace: Namespace, queue: RedisJobQueue, crew: Crew, kubelet: Kubelet
) -> None:
    _fill(namespace, queue, crew, kubelet)
    queue.retire(["worker-9"])
    namespace.patch("pods", "worker-1", {"metadata": {"annotations": {COST: CHEAP}}})
    queue.finish([_done(job) for job in crew.held["worker-1"]])
    crew.held["worker-1"] = []
    assert queue.retire(["worker-1"]) == {"worker-1"}
    submit_jobs(queue, 1)
    wait_until(lambda: crew.beat() and not queue.observe().retired, what="nobody is retired any more")
    wait_until(lambda: COST not in namespace.get("pods", "worker-1")["metadata"].get("annotations", {}))
    assert crew.claim("worker-1")
    assert kubelet.deleted == []


class HeldUp(Cluster):
    """A cluster at which `meanwhile` happens just before the first pod is marked or the Deployment is scaled in."""

    def __init__(self, api: KubernetesApi, namespace: Namespace, stage: str, meanwhile: Callable[[], Awaitable[None]]):
        super().__init__(api, (namespace.name,))
        self._stage = stage
        self._meanwhile = meanwhile

    async def mark(self, pod: Pod, *, cheap: bool) -> None:
        if cheap and self._stage == "mark":
            await self._interrupt()
        await super().mark(pod, cheap=cheap)

    async def scale(self, target: Target, replicas: int) -> None:
        if replicas < target.replicas and self._stage == "scale":
            await self._interrupt()
        await super().scale(target, replicas)
        if replicas < target.replicas and self._stage == "afterwards":
            await self._interrupt()

    async def _interrupt(self) -> None:
        self._stage = ""
        await self._meanwhile()


@pytest.fixture
def own_kubelet(namespace: Namespace, redis_server: RedisServer) -> Iterator[Kubelet]:
    namespace.create_deployment(replicas=4)
    with Kubelet(namespace, redis_server) as running:
        wait_until(lambda: namespace.get("deployments", "worker").get("status", {}).get("readyReplicas") == 4)
        yield running


@pytest.fixture
def _credentials(namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(namespace.server.kubeconfig(tmp_path, "operator")))


async def _operate(
    namespace: Namespace,
    redis: RedisServer,
    stage: str,
    meanwhile: Callable[[], Awaitable[None]],
    until: Callable[[], Awaitable[Any]],
) -> None:
    """Serve the queue, be held up at `stage`, and end at once when `until` comes true."""
    api = KubernetesApi()
    await api.open()
    supervisor = Supervisor(
        HeldUp(api, namespace, stage, meanwhile), RedisServers(RedisSettings(redis_url=redis.url)), OperatorMetrics()
    )
    await supervisor.start()
    supervisor.follow(parse(namespace.get("inferencequeues", "iris")))
    try:
        async with asyncio.timeout(60):
            await until()
    finally:
        async with asyncio.timeout(30):
            await supervisor.stop()
        await api.close()
        await connections_closed()


@pytest.mark.usefixtures("_credentials")
@pytest.mark.parametrize("stage", ["mark", "scale", "afterwards"])
def test_an_operator_killed_in_the_middle_of_a_scale_in_leaves_nothing_half_done(
    namespace: Namespace,
    queue: RedisJobQueue,
    crew: Crew,
    own_kubelet: Kubelet,
    redis_server: RedisServer,
    start_operator: Callable[..., Operator],
    stage: str,
) -> None:
    submit_jobs(queue, 2)
    assert all(crew.claim(name) for name in ("worker-1", "worker-3"))
    crew.beat()
    namespace.create_queue(**QUEUE)
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    asyncio.run(_operate(namespace, redis_server, stage, hang, reached.wait))
    start_operator()
    wait_until(lambda: crew.beat() and namespace.replicas() == 2, 60, "two replicas")
    wait_until(lambda: own_kubelet.running == 2, what="two pods")
    assert sorted(own_kubelet.deleted) == [("worker-2", False), ("worker-4", False)]
    assert queue.observe().retired <= {"worker-2", "worker-4"}


@pytest.mark.usefixtures("_credentials", "own_kubelet")
def test_an_operator_ends_though_a_reconciliation_swallows_its_cancellation(
    namespace: Namespace, crew: Crew, redis_server: RedisServer
) -> None:
    crew.beat()
    namespace.create_queue(**QUEUE)
    reached = asyncio.Event()

    async def swallow() -> None:
        reached.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    asyncio.run(_operate(namespace, redis_server, "scale", swallow, reached.wait))


@pytest.mark.usefixtures("_credentials")
def test_work_that_comes_while_workers_are_barred_keeps_them(
    namespace: Namespace, queue: RedisJobQueue, crew: Crew, own_kubelet: Kubelet, redis_server: RedisServer
) -> None:
    crew.beat()
    namespace.create_queue(**QUEUE)

    async def work_comes() -> None:
        assert queue.observe().retired
        submit_jobs(queue, 4)

    async def until() -> None:
        await asyncio.to_thread(
            wait_until, lambda: queue.observe().length == 4 and not queue.observe().retired, what="nobody is barred"
        )

    asyncio.run(_operate(namespace, redis_server, "mark", work_comes, until))
    assert namespace.replicas() == 4
    assert own_kubelet.deleted == []
    assert all(crew.claim(name) for name in crew.held)


@pytest.mark.usefixtures("_credentials", "own_kubelet")
def test_a_worker_goes_when_it_says_that_it_has_nothing_more_to_do(
    namespace: Namespace,
    queue: RedisJobQueue,
    crew: Crew,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconciler, "TICK", 3600.0)
    for keep in ("KEPT", "LEAST_KEEP"):
        monkeypatch.setattr(f"inferqueue_core.scaling.law.{keep}", 0.0)
    submit_jobs(queue, 4)
    assert all(crew.claim(name) for name in crew.held)
    namespace.create_queue(**QUEUE)

    async def never() -> None:
        raise AssertionError

    def each_goes_in_turn() -> None:
        wait_until(lambda: namespace.get("inferencequeues", "iris").get("status"), what="a first look at the queue")
        with redis.Redis.from_url(redis_server.url) as client:
            wait_until(lambda: client.pubsub_numsub("predict_queue:wake")[0][1], what="the operator listens")
        for left, name in ((3, "worker-2"), (2, "worker-4")):
            queue.finish([_done(job) for job in crew.held[name]])
            queue.extend(name, WorkerReport(), [], idle=True)
            wait_until(lambda: namespace.replicas() == left, what=f"{left} replicas")  # noqa: B023

    async def until() -> None:
        await asyncio.to_thread(each_goes_in_turn)

    asyncio.run(_operate(namespace, redis_server, "", never, until))


class Starter(Idler):
    """A container that is never ready, and that ends when the test says so."""

    def __init__(self, name: str, may_end: threading.Event) -> None:
        super().__init__(name)
        self._may_end = may_end

    def is_ready(self) -> bool:
        return False

    def has_ended(self) -> bool:
        return self._may_end.is_set()


def test_a_starting_pod_that_somebody_deletes_cannot_begin_to_claim(
    namespace: Namespace, queue: RedisJobQueue, operator: Operator, redis_server: RedisServer
) -> None:
    may_end = threading.Event()
    namespace.create_deployment(replicas=1)
    with Kubelet(namespace, redis_server, partial(Starter, may_end=may_end)):
        try:
            namespace.create_queue(minReplicas=1)
            wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
            wait_until(lambda: namespace.all("pods"))
            namespace.delete("pods", "worker-1")
            wait_until(lambda: queue.observe().retired == {"worker-1"}, what="it is barred")
        finally:
            may_end.set()
        wait_until(lambda: not queue.observe().retired, what="it is forgotten once it is gone")
