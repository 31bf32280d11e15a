"""Workers, Redis, proxies and nodes that go away while there is work: nothing is lost, and nothing is done twice."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.clusters import Cluster
from support.gateways import Gateway, ModelQueue
from support.releases import Release
from support.waiting import wait_until
from support.watches import PodWatch, ReplicaWatch

pytestmark = pytest.mark.e2e

Watching = Callable[[str], tuple[ReplicaWatch, PodWatch]]

QUICK, STEADY, LONG = [0.25], [1.0], [8.0]


def test_the_job_of_a_worker_that_is_deleted_with_force_runs_elsewhere(
    release: Release, queues: dict[str, ModelQueue], at_rest: Callable[..., None]
) -> None:
    at_rest("long")
    (job_id,) = ids = queues["long"].submit(1, LONG)

    def worker_at_work() -> str | None:
        look = queues["long"].look() or {"workers": []}
        return next((worker["name"] for worker in look["workers"] if worker["in_flight"]), None)

    victim = wait_until(worker_at_work, 60, f"job {job_id} runs", every=0.2)
    release.kubectl.run("delete", "pod", victim, "--grace-period=0", "--force")
    (job,) = queues["long"].all_completed(ids)
    assert job.worker != victim
    assert job.attempts == 2


def test_a_backlog_outlives_the_pod_of_redis(
    release: Release, queues: dict[str, ModelQueue], at_rest: Callable[..., None]
) -> None:
    at_rest("quick")
    ids = queues["quick"].submit(600, QUICK)
    wait_until(lambda: queues["quick"].left() < 590, 60, "some jobs are done", every=0.2)
    (redis,) = release.pods("redis")
    release.kubectl.run("delete", "pod", redis["metadata"]["name"])
    queues["quick"].all_completed(ids)


def test_workers_are_held_and_fall_back_while_redis_is_away(
    release: Release, queues: dict[str, ModelQueue], at_rest: Callable[..., None], watch: Watching
) -> None:
    at_rest("long", "steady")
    replicas, _ = watch("steady")
    began = time.time()
    ids = queues["steady"].submit(200, STEADY)
    wait_until(lambda: replicas.ready_at(began), 60, "workers work")
    redis = f"statefulset/{release.fullname}-redis"
    release.kubectl.run("scale", redis, "--replicas=0")
    # Until it has ended, it is read, and workers are scaled for what it says.
    release.kubectl.run("wait", "pods", "--selector", release.selector("redis"), "--for=delete", "--timeout=60s")
    away = time.time()
    for key in ("steady", "long"):
        release.kubectl.run("wait", f"iq/{release.worker(key)}", "--for=condition=FallbackActive", "--timeout=60s")
    wait_until(lambda: release.replicas("long") == 2, 30, "the fallback's workers, from zero", every=0.5)
    held = [step.replicas for step in replicas.steps(away)]
    release.kubectl.run("scale", redis, "--replicas=1")
    for key in ("steady", "long"):
        condition = "--for=condition=FallbackActive=false"
        release.kubectl.run("wait", f"iq/{release.worker(key)}", condition, "--timeout=60s")
    queues["steady"].all_completed(ids)
    assert held == [], "workers were scaled while nobody could know what for"
    at_rest("long", "steady")


def test_a_rollout_of_the_proxy_under_load_fails_no_request(
    release: Release, gateway: Gateway, queues: dict[str, ModelQueue]
) -> None:
    stop = threading.Event()
    sent: list[str] = []

    def send(keeps_its_connection: bool) -> list[str]:
        """Send jobs until told to stop; give what went wrong."""
        wrong = []
        while not stop.wait(0.05):
            try:
                if keeps_its_connection:
                    sent.extend(queues["iris"].submit(1, [[5.1, 3.5, 1.4, 0.2]]))
                else:
                    answer = httpx.get(f"{gateway.url}/queues", headers=gateway.headers, timeout=30, trust_env=False)
                    answer.raise_for_status()
            except (httpx.HTTPError, AssertionError) as error:
                wrong.append(repr(error))
        return wrong

    with ThreadPoolExecutor(2) as pool:
        senders = [pool.submit(send, kept) for kept in (True, False)]
        try:
            release.kubectl.run("rollout", "restart", f"deployment/{release.fullname}-proxy")
            rollout = ("rollout", "status", f"deployment/{release.fullname}-proxy", "--timeout=120s")
            release.kubectl.run(*rollout, timeout=150)
            wait_until(lambda: len(release.pods("proxy")) == 2, 60, "the old pods are gone", every=0.5)
        finally:
            stop.set()
        wrong = [error for sender in senders for error in sender.result(60)]
    assert wrong == []
    assert len(sent) > 20, "too few requests to prove anything"
    queues["iris"].all_completed(sent)


def test_a_node_is_drained_under_load(
    cluster: Cluster, release: Release, queues: dict[str, ModelQueue], at_rest: Callable[..., None]
) -> None:
    at_rest("steady")
    (redis,) = release.pods("redis")
    # A volume of kind's own storage class lies on one node, and Redis can go nowhere without it.
    (node,) = [name for name in cluster.nodes() if name != redis["spec"]["nodeName"]]
    ids = queues["steady"].submit(400, STEADY)
    wait_until(lambda: queues["steady"].left() < 390, 60, "some jobs are done", every=0.2)
    try:
        options = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s")
        cluster.kubectl.run("drain", node, *options, timeout=180)
        left = [pod for pod in release.kubectl.items("pods") if pod["spec"]["nodeName"] == node]
        queues["steady"].all_completed(ids)
    finally:
        cluster.kubectl.run("uncordon", node)
    assert left == []
