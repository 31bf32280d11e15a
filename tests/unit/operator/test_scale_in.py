"""Which pods are chosen to go."""

from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.jobs import QueueObservation, WorkerReport, WorkerState
from inferqueue_operator.looks import Crew, muster
from inferqueue_operator.scale_in import Departure, plan_departure, survivors, to_bar
from inferqueue_operator.workloads import Pod
from support.workloads import pod, target


def crew_of(*pods: Pod) -> Crew:
    return muster(pods, {each.name for each in pods if each.ready}, (), beats=True)


def names(pods: tuple[Pod, ...]) -> list[str]:
    return [each.name for each in pods]


def test_only_idle_workers_go_and_the_youngest_first() -> None:
    crew = crew_of(pod("old", created=1), pod("young", created=3), pod("busy", created=2))
    assert names(plan_departure(crew, 2, {"old", "young"}).pods) == ["young", "old"]
    assert names(plan_departure(crew, 1, {"old", "young"}).pods) == ["young"]
    assert names(plan_departure(crew, 3, {"old"}).pods) == ["old"]


def test_unready_pods_go_before_any_other() -> None:
    unready = [
        pod("starting", ready=False, created=3),
        pod("pulling", ready=False, pending=True, created=2),
        pod("waiting", ready=False, pending=True, scheduled=False, created=1),
    ]
    crew = crew_of(pod("idle"), *unready)
    assert names(plan_departure(crew, 1, {"idle"}).pods) == ["waiting"]
    departure = plan_departure(crew, 4, {"idle"})
    assert names(departure.pods) == ["waiting", "pulling", "starting", "idle"]
    assert departure.unready == 3


def test_a_ready_pod_that_has_not_reported_yet_may_go() -> None:
    crew = muster([pod("loading")], (), (), beats=True)
    assert names(plan_departure(crew, 1, set()).pods) == ["loading"]


def test_nobody_goes_while_kubernetes_would_take_a_busy_pod_first() -> None:
    departure = Departure((pod("unready but busy", ready=False), pod("idle")), 1)
    assert departure.granted({"idle"}) == ()
    assert names(departure.granted({"unready but busy", "idle"})) == ["unready but busy", "idle"]


STAGES = [
    {"ready": False, "pending": True, "scheduled": False},
    {"ready": False, "pending": True},
    {"ready": False},
    {"ready": True},
]
pods = st.lists(
    st.builds(
        lambda name, stage, created: pod(name, created=created, **stage),
        st.text("abcdefgh", min_size=1, max_size=4),
        st.sampled_from(STAGES),
        st.floats(0, 100),
    ),
    max_size=8,
    unique_by=lambda each: each.name,
)


@given(pods, st.integers(0, 10), st.data())
def test_what_kubernetes_deletes_is_what_was_granted(found: list[Pod], count: int, data: st.DataObject) -> None:
    crew = crew_of(*found)
    idle = data.draw(st.sets(st.sampled_from([each.name for each in found]))) if found else set()
    departure = plan_departure(crew, count, idle)
    granted = departure.granted(idle | {each.name for each in departure.pods if not each.ready})
    assert len(granted) <= count
    # As ActivePodsWithRanks of Kubernetes sorts them.
    order = sorted(
        found,
        key=lambda each: (
            *(each.scheduled, not each.pending, each.ready),
            *(each not in granted, -each.created, each.name),
        ),
    )
    assert set(names(tuple(order[: len(granted)]))) == set(names(granted))


RETIRED = muster([pod("a"), pod("b"), pod("c")], {"a", "b", "c"}, {"a"}, beats=True)


def test_retired_pods_survive_when_the_deployment_has_no_more_than_it_should() -> None:
    assert names(survivors(RETIRED, target(3))) == ["a"]
    assert survivors(RETIRED, target(2)) == ()
    assert survivors(RETIRED, target(3, settled=False)) == ()


def test_retired_pods_survive_a_rollout_however_long_it_has_more_pods_than_asked_for() -> None:
    assert names(survivors(RETIRED, target(2, pods=3, settled=False, rolling=True))) == ["a"]


def look(*busy: str, retired: frozenset[str] = frozenset()) -> QueueObservation:
    workers = tuple(WorkerState(name, 0.0, False, WorkerReport(in_flight=1)) for name in busy)
    return QueueObservation(1, 0, 0, 0, 0, workers=workers, retired=retired)


def test_pods_on_their_way_out_are_barred_unless_they_hold_jobs_or_are_barred() -> None:
    found = [pod(name, terminating=True) for name in ("starting", "busy", "barred")]
    crew = muster([pod("stays"), *found], {"stays"}, (), beats=True)
    assert to_bar(crew, 1, look("busy", retired=frozenset({"barred"}))) == ["starting"]


def test_pods_that_are_about_to_be_deleted_are_barred_anew_when_redis_has_lost_that() -> None:
    assert to_bar(RETIRED, 2, look()) == ["a"]
    assert to_bar(RETIRED, 2, look(retired=frozenset({"a"}))) == []
    assert to_bar(RETIRED, 3, look()) == []
