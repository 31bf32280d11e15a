"""Looks at Redis and pods, in the law's terms."""

import msgspec
from msgspec.structs import replace

from inferqueue_core.jobs import QueueObservation, WorkerReport, WorkerState
from inferqueue_operator.looks import (
    FRESH_HEARTBEAT,
    LONGEST_START,
    NAIVE_QUIET,
    Crew,
    Starts,
    beating_workers,
    fleet_of,
    idle_workers,
    muster,
)
from support.workloads import pod, target


def worker(name: str, **report: float) -> WorkerState:
    return WorkerState(name, 0.0, False, msgspec.convert(report, WorkerReport))


def test_pods_are_sorted_by_what_they_can_do() -> None:
    pods = [pod("beats"), pod("loads"), pod("starts", ready=False), pod("retired"), pod("leaves", terminating=True)]
    crew = muster(pods, {"beats", "retired", "leaves"}, {"retired"}, beats=True)
    assert [[each.name for each in group] for group in (crew.ready, crew.starting, crew.retired, crew.leaving)] == [
        ["beats"],
        ["loads", "starts"],
        ["retired"],
        ["leaves"],
    ]


def test_a_crashed_worker_is_not_taken_for_one_that_works() -> None:
    def silent(name: str, seconds: float) -> WorkerState:
        return replace(worker(name), silent_seconds=seconds)

    long = FRESH_HEARTBEAT + 1
    workers = (silent("crashed", long), silent("unready", 1), silent("ready", long))
    pods = [pod("crashed", ready=False), pod("unready", ready=False), pod("ready")]
    assert beating_workers(QueueObservation(1, 0, 0, 0, 0, workers=workers), pods) == {"unready", "ready"}


def test_workers_that_never_send_heartbeats_are_ready_when_kubernetes_says_so() -> None:
    crew = muster([pod("naive"), pod("starts", ready=False)], (), (), beats=False)
    assert [each.name for each in crew.ready] == ["naive"]


def test_cold_starts_are_those_of_pods_that_were_starting_before() -> None:
    crew = muster(
        [pod("new", created=90), pod("old", created=10), pod("again", created=50, restarted=True)], (), (), beats=False
    )
    were_starting = {"uid of new", "uid of again"}
    fleet = fleet_of(target(4), crew, were_starting, now=100)
    assert fleet.cold_starts == (10,)
    assert (fleet.replicas, fleet.ready) == (4, 3)


def test_a_worker_that_comes_back_teaches_no_cold_start() -> None:
    def crew(*, ready: bool) -> Crew:
        return muster([pod("worker", ready=ready)], (), (), beats=False)

    starts = Starts().after(crew(ready=False))
    assert starts.first == {"uid of worker"}
    for ready in (True, False):
        starts = starts.after(crew(ready=ready))
        assert starts.first == set()
    assert starts.after(muster([], (), (), beats=False)) == Starts()


def test_a_start_that_waited_for_a_node_teaches_nothing() -> None:
    crew = muster([pod("new", created=0)], (), (), beats=False)
    fleet = fleet_of(target(1), crew, {"uid of new"}, now=LONGEST_START + 1)
    assert (fleet.ready, fleet.cold_starts) == (1, ())


def test_ages_of_starting_pods_are_oldest_first() -> None:
    crew = muster([pod("a", ready=False, created=95), pod("b", ready=False, created=90)], (), (), beats=False)
    assert fleet_of(target(2), crew, (), now=100).starting == (10, 5)


def test_who_seems_idle() -> None:
    observation = QueueObservation(1, 0, 0, 0, 0, workers=(worker("busy", in_flight=1), worker("idle")))
    crew = muster([pod("busy"), pod("idle")], {"busy", "idle"}, (), beats=True)
    assert idle_workers(crew, observation, None, 0) == {"idle"}


def test_workers_without_heartbeats_are_idle_only_after_a_quiet_while() -> None:
    observation = QueueObservation(1, 0, 0, 0, 0)
    crew = muster([pod("naive")], (), (), beats=False)
    assert idle_workers(crew, observation, None, 100) == set()
    assert idle_workers(crew, observation, 100, 100 + NAIVE_QUIET / 2) == set()
    assert idle_workers(crew, observation, 100, 100 + NAIVE_QUIET) == {"naive"}
