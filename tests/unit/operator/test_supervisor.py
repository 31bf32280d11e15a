"""Which queues count as stuck, and who rivals whom."""

import asyncio

import pytest

from inferqueue_core.settings import RedisSettings
from inferqueue_operator import supervisor as module
from inferqueue_operator.api import KubernetesApi
from inferqueue_operator.cluster import Cluster
from inferqueue_operator.metrics import OperatorMetrics
from inferqueue_operator.resource import InferenceQueue, parse
from inferqueue_operator.servers import RedisServers
from inferqueue_operator.supervisor import Supervisor


def resource(name: str, uid: str = "1") -> InferenceQueue:
    metadata = {"namespace": "test", "name": name, "uid": uid, "generation": 1}
    return parse({"metadata": metadata, "spec": {"queue": {"name": name}, "scaleTargetRef": {"name": "worker"}}})


def test_a_queue_without_progress_is_named_and_one_that_was_deleted_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        servers = RedisServers(RedisSettings(redis_url="redis://127.0.0.1:1"))
        supervisor = Supervisor(Cluster(KubernetesApi(), ()), servers, OperatorMetrics(), ())
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
