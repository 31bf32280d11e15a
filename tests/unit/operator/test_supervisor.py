"""Which queues count as stuck, and who rivals whom."""

import asyncio
from dataclasses import replace

import pytest

from inferqueue_core.queue_settings import RedisSettings
from inferqueue_operator import supervisor as module
from inferqueue_operator.api import KubernetesApi
from inferqueue_operator.cluster import Cluster
from inferqueue_operator.errors import ForbiddenError
from inferqueue_operator.metrics import OperatorMetrics
from inferqueue_operator.reconciler import Reconciler
from inferqueue_operator.resource import InferenceQueue, parse
from inferqueue_operator.servers import RedisServers
from inferqueue_operator.supervisor import Supervisor


def resource(name: str, uid: str = "1", namespace: str = "test") -> InferenceQueue:
    metadata = {"namespace": namespace, "name": name, "uid": uid, "generation": 1}
    return parse({"metadata": metadata, "spec": {"queue": {"name": name}, "scaleTargetRef": {"name": "worker"}}})


def test_a_queue_without_progress_is_named_and_one_that_was_deleted_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        servers = RedisServers(RedisSettings(redis_url="redis://127.0.0.1:1"))
        supervisor = Supervisor(Cluster(KubernetesApi(), ()), servers, OperatorMetrics())
        supervisor.follow(resource("iris"))
        supervisor.follow(resource("other"))
        assert supervisor.stalled() == []
        monkeypatch.setattr(module, "STALL_SECONDS", -1.0)
        assert supervisor.stalled() == ["test/iris", "test/other"]
        supervisor.forget(resource("other", uid="2"))
        assert supervisor.stalled() == ["test/iris", "test/other"]
        supervisor.forget(resource("other"))
        assert supervisor.stalled() == ["test/iris"]
        await supervisor.stop()

    asyncio.run(run())


def test_a_namesake_begins_only_when_the_deleted_one_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        story: list[str] = []
        may_leave, began = asyncio.Event(), asyncio.Event()

        async def work(self: Reconciler) -> None:
            story.append(f"{self.resource.identity.uid} runs")
            began.set()
            await asyncio.Event().wait()

        async def leave(self: Reconciler) -> None:
            await may_leave.wait()
            story.append(f"{self.resource.identity.uid} leaves")

        monkeypatch.setattr(Reconciler, "run", work)
        monkeypatch.setattr(Reconciler, "leave", leave)
        servers = RedisServers(RedisSettings(redis_url="redis://127.0.0.1:1"))
        supervisor = Supervisor(Cluster(KubernetesApi(), ()), servers, OperatorMetrics())
        supervisor.follow(resource("iris"))
        await began.wait()
        began.clear()
        supervisor.forget(resource("iris"))
        supervisor.follow(resource("iris", uid="2"))
        may_leave.set()
        await began.wait()
        assert story == ["1 runs", "1 leaves", "2 runs"]
        await supervisor.stop()

    asyncio.run(run())


def test_a_namespace_that_cannot_be_counted_does_not_hide_what_is_gone_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        async def queues(self: Cluster, namespace: str) -> list[InferenceQueue]:
            if namespace == "forbidden":
                raise ForbiddenError("403")
            return []

        forgotten, forget = asyncio.Event(), Supervisor.forget

        def forget_and_tell(self: Supervisor, known: InferenceQueue) -> None:
            forget(self, known)
            forgotten.set()

        monkeypatch.setattr(Supervisor, "forget", forget_and_tell)
        monkeypatch.setattr(module, "_CENSUS_SECONDS", 0.0)
        monkeypatch.setattr(module, "STALL_SECONDS", -1.0)
        monkeypatch.setattr(Cluster, "queues", queues)
        monkeypatch.setattr(Cluster, "answered", lambda _: asyncio.sleep(0))
        monkeypatch.setattr(Cluster, "follow", lambda _: asyncio.Event().wait())
        servers = RedisServers(RedisSettings(redis_url="redis://127.0.0.1:1"))
        supervisor = Supervisor(Cluster(KubernetesApi(), ()), servers, OperatorMetrics())
        await supervisor.start()
        supervisor.follow(resource("iris", namespace="forbidden"))
        supervisor.follow(resource("iris"))
        async with asyncio.timeout(10):
            await forgotten.wait()
        assert supervisor.stalled() == ["forbidden/iris"]
        await supervisor.stop()

    asyncio.run(run())


def test_the_census_follows_what_nobody_told_of_and_takes_up_no_old_news(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        running: list[Reconciler] = []
        counted: asyncio.Queue[None] = asyncio.Queue(1)

        async def work(self: Reconciler) -> None:
            running.append(self)
            await asyncio.Event().wait()

        async def queues(self: Cluster, namespace: str) -> list[InferenceQueue]:
            # This one is made anew while the list is under way.
            supervisor.follow(resource("made-anew", uid="young"))
            await counted.put(None)
            return [resource("silent", uid="2"), _edited(3), resource("made-anew", uid="old")]

        monkeypatch.setattr(module, "_CENSUS_SECONDS", 0.0)
        monkeypatch.setattr(Reconciler, "run", work)
        monkeypatch.setattr(Cluster, "queues", queues)
        monkeypatch.setattr(Cluster, "answered", lambda _: asyncio.sleep(0))
        monkeypatch.setattr(Cluster, "follow", lambda _: asyncio.Event().wait())
        servers = RedisServers(RedisSettings(redis_url="redis://127.0.0.1:1"))
        supervisor = Supervisor(Cluster(KubernetesApi(), ()), servers, OperatorMetrics())
        supervisor.follow(_edited(1))
        await supervisor.start()
        await counted.get()
        await counted.get()
        supervisor.follow(_edited(2))
        generations = {known.resource.identity.uid: known.resource.generation for known in running}
        assert generations == {"1": 3, "2": 1, "young": 1}
        await supervisor.stop()

    asyncio.run(run())


def _edited(generation: int) -> InferenceQueue:
    return replace(resource("edited"), generation=generation)
