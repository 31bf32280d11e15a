"""Loads from zero: how soon and how far the workers are scaled, what that costs, and that none is stopped at work."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from support.figures import Figures
from support.gateways import ModelQueue, share_within, stopped_at_work
from support.releases import Release
from support.waiting import wait_until
from support.watches import PodWatch, ReplicaWatch

pytestmark = pytest.mark.e2e

Watching = Callable[[str], tuple[ReplicaWatch, PodWatch]]

OBJECTIVE_SECONDS = 30
LEAST_SHARE = 0.99
MOST_COST = 550
QUICK, STEADY = [0.25], [1.0]


def _spike(queue: ModelQueue, replicas: ReplicaWatch, count: int, data: object) -> tuple[float, list[str]]:
    """Send jobs at once; give when that began, and their ids, as soon as there are workers for them."""
    began = time.time()
    ids = queue.submit(count, data)
    wait_until(lambda: replicas.scaled_at(began), 30, "the Deployment is scaled")
    return began, ids


def test_a_burst_into_an_empty_queue_has_a_worker_soon(
    queues: dict[str, ModelQueue], at_rest: Callable[..., None], watch: Watching, figures: Figures
) -> None:
    at_rest("quick")
    replicas, _ = watch("quick")
    began, ids = _spike(queues["quick"], replicas, 40, QUICK)
    ready_at = wait_until(lambda: replicas.ready_at(began), 60, "a worker is ready")
    scaled, ready = (replicas.scaled_at(began) or ready_at) - began, ready_at - began
    queues["quick"].all_completed(ids)
    figures.hold("burst of 40 into an empty queue → scaled", f"{scaled:.2f} s", "≤ 2 s", scaled <= 2)
    figures.hold("burst of 40 into an empty queue → first pod ready", f"{ready:.2f} s", "≤ 6 s", ready <= 6)


def test_a_spike_of_a_thousand_jobs_from_zero(
    queues: dict[str, ModelQueue], at_rest: Callable[..., None], watch: Watching, figures: Figures
) -> None:
    at_rest("quick")
    replicas, pods = watch("quick")
    began, ids = _spike(queues["quick"], replicas, 1_000, QUICK)
    wait_until(lambda: replicas.replicas == 0, 120, "workers are gone again", every=0.2)
    jobs = queues["quick"].all_completed(ids)

    ready = (replicas.ready_at(began) or 0) - began
    share = share_within(OBJECTIVE_SECONDS, jobs)
    first, *later = [step.replicas for step in replicas.steps(began)]
    assert stopped_at_work(jobs, pods.deleted_at) == []
    assert {job.attempts for job in jobs} == {1}
    figures.add("spike of 1,000 from zero, first pod ready", f"{ready:.2f} s")
    figures.hold("spike of 1,000 from zero, within 30 s", f"{share:.1%}", "≥ 99 %", share >= LEAST_SHARE)
    steps = f"0 → {first} → at most {max(later)}"
    figures.hold("spike of 1,000 from zero, workers", steps, "one step", max(later) <= first)


def test_the_spike_that_keda_was_measured_on(
    queues: dict[str, ModelQueue], at_rest: Callable[..., None], watch: Watching, figures: Figures
) -> None:
    at_rest("quick", "steady")
    replicas, pods = watch("steady")
    began, ids = _spike(queues["steady"], replicas, 400, STEADY)
    wait_until(lambda: replicas.replicas == 0, 120, "workers are gone again", every=0.2)
    jobs = queues["steady"].all_completed(ids)

    share, cost = share_within(OBJECTIVE_SECONDS, jobs), replicas.replica_seconds(began)
    assert stopped_at_work(jobs, pods.deleted_at) == []
    spike = "400 jobs of 1 s from zero"
    figures.add(f"{spike}, seconds to each ready worker", " ".join(f"{ready:.0f}" for ready in pods.starts(began)))
    figures.hold(f"{spike}, in time (KEDA 4.8 %, tuned 88.8 %)", f"{share:.1%}", "≥ 99 %", share >= LEAST_SHARE)
    figures.hold(f"{spike}, replica-seconds (KEDA 6,100, tuned 780)", f"{cost:.0f}", "≤ 550", cost <= MOST_COST)


def test_scale_in_during_load_loses_nothing_and_stops_no_busy_worker(
    queues: dict[str, ModelQueue], at_rest: Callable[..., None], watch: Watching
) -> None:
    at_rest("quick")
    replicas, pods = watch("quick")
    began, ids = _spike(queues["quick"], replicas, 400, QUICK)
    most = max(step.replicas for step in replicas.steps(began))

    def few_are_left() -> bool:
        ids.extend(queues["quick"].submit(2, QUICK))
        return 0 < replicas.replicas <= most // 2

    wait_until(few_are_left, 90, f"half of {most} workers go while jobs keep arriving", every=0.25)
    jobs = queues["quick"].all_completed(ids)
    assert len(pods.deleted_at) >= most // 2
    assert stopped_at_work(jobs, pods.deleted_at) == []
    assert {job.attempts for job in jobs} == {1}


def test_an_operator_that_is_deleted_mid_spike_is_not_missed(
    release: Release, queues: dict[str, ModelQueue], at_rest: Callable[..., None], watch: Watching
) -> None:
    at_rest("steady")
    replicas, pods = watch("steady")
    began, ids = _spike(queues["steady"], replicas, 300, STEADY)
    wait_until(lambda: replicas.ready_at(began), 60, "a worker is ready")
    (operator,) = release.pods("operator")
    release.kubectl.run("delete", "pod", operator["metadata"]["name"])
    jobs = queues["steady"].all_completed(ids)
    wait_until(lambda: replicas.replicas == 0, 90, "workers are gone again", every=0.2)
    assert stopped_at_work(jobs, pods.deleted_at) == []
    assert {job.attempts for job in jobs} == {1}
    assert replicas.turns(began) <= 1


def test_helm_upgrade_during_a_spike_keeps_the_replicas(
    release: Release,
    values: dict[str, Any],
    queues: dict[str, ModelQueue],
    at_rest: Callable[..., None],
    watch: Watching,
) -> None:
    at_rest("steady")
    replicas, pods = watch("steady")
    began, ids = _spike(queues["steady"], replicas, 900, STEADY)
    wait_until(lambda: replicas.ready_at(began), 60, "a worker is ready")
    before = time.time()
    release.upgrade(values | {"proxy": values["proxy"] | {"podAnnotations": {"example.com/upgraded": str(began)}}})
    steps = replicas.steps(before)
    look = queues["steady"].look()
    jobs = queues["steady"].all_completed(ids)
    assert look is not None
    assert look["length"] > 0, "the queue was worked off before the upgrade had ended; it proved nothing"
    assert [step for step in steps if step.replicas < replicas.steps(began)[0].replicas] == []
    assert stopped_at_work(jobs, pods.deleted_at) == []
