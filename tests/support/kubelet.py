"""A stand-in for the Deployment controller and the kubelet: pods come and go as `/scale` says, and run our workers."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from inferqueue_core.connection import connect
from inferqueue_core.jobs import ClaimedJob, Completed, WorkerReport
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.api_servers import ApiRefusedError, Body, Namespace
from support.programs import Worker
from support.redis_servers import RedisServer

COST = "controller.kubernetes.io/pod-deletion-cost"


class Container(Protocol):
    """What runs in a pod."""

    def is_ready(self) -> bool: ...
    def stop(self) -> None: ...
    def has_ended(self) -> bool: ...


class Idler:
    """A container that does nothing, and sends no heartbeats."""

    def __init__(self, name: str) -> None:
        self._stopped = False

    def is_ready(self) -> bool:
        return True

    def stop(self) -> None:
        self._stopped = True

    def has_ended(self) -> bool:
        return self._stopped


class ThreadWorker:
    """A worker that takes one job at a time and needs `seconds` for each."""

    def __init__(self, url: str, name: str, seconds: float) -> None:
        self._queue = RedisJobQueue(connect(RedisSettings(redis_url=url)), "predict_queue", QueuePolicy())
        self._name = name
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_ready(self) -> bool:
        return True

    def stop(self) -> None:
        self._stopping.set()

    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        jobs, busy, until, beat_at = 0, 0.0, 0.0, 0.0
        held: tuple[ClaimedJob, ...] = ()
        while held or not self._stopping.is_set():
            now = time.monotonic()
            if now >= beat_at:
                report = WorkerReport(in_flight=len(held), jobs=jobs, busy_seconds=busy, image="worker:1")
                self._queue.extend(self._name, report, held)
                beat_at = now + 0.3
            if held and now >= until:
                self._queue.finish([Completed(job, b"1") for job in held])
                jobs, busy, held = jobs + 1, busy + self._seconds, ()
            if not held:
                held = self._queue.claim(self._name, 1, 1 << 20).jobs
                until = now + self._seconds
            time.sleep(0.01)
        self._queue.forget_worker(self._name)


class ProcessWorker:
    """A real worker process on the Iris model."""

    def __init__(self, url: str, name: str) -> None:
        self._program = Worker(url, WORKER_NAME=name, RUNNERS="1", GRACE_SECONDS="5").launch()

    def is_ready(self) -> bool:
        return self._program.line("ready") is not None

    def stop(self) -> None:
        assert self._program.process is not None
        self._program.process.terminate()

    def has_ended(self) -> bool:
        assert self._program.process is not None
        if self._program.process.poll() is None:
            return False
        self._program.close()
        return True


def holders(redis: RedisServer, queue: str = "predict_queue") -> set[str]:
    """Name the workers that hold leases."""
    with redis.client() as client:
        ids = client.zrange(f"{queue}:leases", 0, -1)
        owners = client.mget([f"job:{job_id.decode()}:owner" for job_id in ids]) if ids else []
    return {owner.decode().split(":")[2] for owner in owners if owner}


class Kubelet:
    """Follows the Deployments of a namespace; `deleted` tells of each pod given up and whether it held jobs then."""

    def __init__(self, namespace: Namespace, redis: RedisServer, start: Callable[[str], Container] = Idler) -> None:
        self._namespace = namespace
        self._redis = redis
        self._start = start
        self._containers: dict[str, Container] = {}
        self._numbers = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.deleted: list[tuple[str, bool]] = []
        self.error: BaseException | None = None
        self.delay = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(30)
        for container in self._containers.values():
            container.stop()
        for container in self._containers.values():
            while not container.has_ended():
                time.sleep(0.01)
        if self.error is not None and error is None:
            raise self.error

    @property
    def running(self) -> int:
        return len(self._containers)

    def _run(self) -> None:
        try:
            while not self._end.wait(0.05):
                for deployment in self._namespace.all("deployments"):
                    self._follow(deployment)
        except Exception as error:
            self.error = error

    def _follow(self, deployment: Body) -> None:
        name = deployment["metadata"]["name"]
        pods = [pod for pod in self._namespace.all("pods") if pod["metadata"].get("labels", {}).get("app") == name]
        leaving = [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]
        live = [pod for pod in pods if pod not in leaving]
        excess = len(live) - deployment["spec"]["replicas"]
        for pod in sorted(live, key=_deletion_order)[: max(0, excess)]:
            self._give_up(pod["metadata"]["name"])
            live.remove(pod)
        for _ in range(-excess):
            self._numbers += 1
            live.append(self._launch(deployment, f"{name}-{self._numbers}"))
        for pod in live:
            self._tell_of(pod)
        for pod in leaving:
            self._bury(pod["metadata"]["name"])
        self._settle(deployment, live)

    def _launch(self, deployment: Body, name: str) -> Body:
        template = deployment["spec"]["template"]
        spec = template["spec"] | {"nodeName": "node", "terminationGracePeriodSeconds": 30}
        metadata = {"name": name, "labels": template["metadata"]["labels"]}
        pod = self._namespace.create("pods", {"metadata": metadata, "spec": spec})
        self._containers[name] = self._start(name)
        return pod

    def _give_up(self, name: str) -> None:
        self.deleted.append((name, name in holders(self._redis)))
        self._namespace.delete("pods", name)
        self._containers[name].stop()

    def _tell_of(self, pod: Body) -> None:
        name = pod["metadata"]["name"]
        if not _is_ready(pod) and self._containers[name].is_ready():
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": pod["metadata"]["creationTimestamp"]}
            self._namespace.patch("pods", name, {"status": {"phase": "Running", "conditions": [condition]}}, "status")

    def _bury(self, name: str) -> None:
        if self._containers[name].has_ended():
            try:
                self._namespace.delete("pods", name, grace=0)
            except ApiRefusedError as error:
                if error.status != 404:
                    raise
            del self._containers[name]

    def _settle(self, deployment: Body, live: list[Body]) -> None:
        """Write the Deployment's status, and nothing when it is as it was: each write is a new version."""
        wanted: dict[str, Any] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(live),
            "updatedReplicas": len(live),
            "readyReplicas": sum(_is_ready(pod) for pod in live),
        }
        known = deployment.get("status", {})
        if any(known.get(field, 0) != value for field, value in wanted.items()):
            self._namespace.patch("deployments", deployment["metadata"]["name"], {"status": wanted}, "status")


def _is_ready(pod: Body) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _deletion_order(pod: Body) -> tuple[bool, int, float]:
    """Order pods as a ReplicaSet does when it scales in: unready first, then cheap ones, then the youngest."""
    cost = int((pod["metadata"].get("annotations") or {}).get(COST, "0"))
    return _is_ready(pod), cost, -int(pod["metadata"]["resourceVersion"])
