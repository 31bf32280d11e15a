"""Which pods are chosen to go."""

from hypothesis import given
from hypothesis import strategies as st

from inferqueue_operator.looks import Crew, muster
from inferqueue_operator.scale_in import Departure, plan_departure, survivors
from inferqueue_operator.workloads import Pod
from support.workloads import pod


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
    crew = crew_of(pod("idle"), pod("starting", ready=False), pod("waiting", ready=False, scheduled=False))
    assert names(plan_departure(crew, 1, {"idle"}).pods) == ["waiting"]
    departure = plan_departure(crew, 3, {"idle"})
    assert names(departure.pods) == ["waiting", "starting", "idle"]
    assert departure.unready == 2


def test_a_ready_pod_that_has_not_reported_yet_may_go() -> None:
    crew = muster([pod("loading")], (), (), beats=True)
    assert names(plan_departure(crew, 1, set()).pods) == ["loading"]


def test_nobody_goes_while_kubernetes_would_take_a_busy_pod_first() -> None:
    departure = Departure((pod("unready but busy", ready=False), pod("idle")), 1)
    assert departure.granted({"idle"}) == ()
    assert names(departure.granted({"unready but busy", "idle"})) == ["unready but busy", "idle"]


STAGES = [{"ready": False, "scheduled": False}, {"ready": False, "scheduled": True}, {"ready": True}]
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
    order = sorted(found, key=lambda each: (each.scheduled, each.ready, each not in granted, -each.created, each.name))
    assert set(names(tuple(order[: len(granted)]))) == set(names(granted))


def test_retired_pods_survive_when_the_deployment_has_no_more_than_it_should() -> None:
    assert names(survivors([pod("a")], live=3, replicas=3)) == ["a"]
    assert survivors([pod("a")], live=4, replicas=3) == ()
