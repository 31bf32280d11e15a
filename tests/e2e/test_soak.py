"""Load that goes up and down for ten minutes."""

import threading
import time
from collections.abc import Callable

import pytest

from support.figures import Figures
from support.gateways import ModelQueue, share_within, stopped_at_work
from support.watches import PodWatch, ReplicaWatch

pytestmark = [pytest.mark.e2e, pytest.mark.long]

QUICK = [0.25]
OBJECTIVE_SECONDS = 30
PHASE_SECONDS = 60
# Jobs a second, a phase each; a worker does four.
RATES = (4, 16, 28, 12, 20, 2, 24, 8, 0, 16)


def test_ten_minutes_of_changing_load_without_flapping(
    queues: dict[str, ModelQueue],
    at_rest: Callable[..., None],
    watch: Callable[[str], tuple[ReplicaWatch, PodWatch]],
    figures: Figures,
) -> None:
    at_rest("quick")
    replicas, pods = watch("quick")
    began, ids, pace = time.time(), [], threading.Event()
    sent = 0.0
    while (elapsed := time.time() - began) < PHASE_SECONDS * len(RATES):
        phase = int(elapsed / PHASE_SECONDS)
        due = sum(RATES[:phase]) * PHASE_SECONDS + RATES[phase] * (elapsed - phase * PHASE_SECONDS)
        if due - sent >= 1:
            ids += queues["quick"].submit(int(due - sent), QUICK)
            sent = len(ids)
        pace.wait(0.5)
    jobs = queues["quick"].all_completed(ids)

    turns, share = replicas.turns(began), share_within(OBJECTIVE_SECONDS, jobs)
    cost, work = replicas.replica_seconds(began), len(jobs) * QUICK[0]
    assert stopped_at_work(jobs, pods.deleted_at) == []
    assert {job.attempts for job in jobs} == {1}
    figures.add("ten minutes of changing load, replica-seconds", f"{cost:.0f} for {work:.0f} of work")
    figures.hold("ten minutes of changing load, within 30 s", f"{share:.1%}", "≥ 99 %", share >= 0.99)
    most = 2 * len(RATES)
    figures.hold("ten minutes of changing load, changes of direction", f"{turns}", f"≤ {most}", turns <= most)
