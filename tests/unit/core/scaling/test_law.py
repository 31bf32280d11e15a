"""The properties that the scaling law keeps, whatever it sees."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.scaling import Decision, Fleet, Memory, Objective, Observation, QueueLook, decide

NOW = 1_000.0


def objectives(**fixed: object) -> st.SearchStrategy[Objective]:
    waits = st.floats(1, 600).map(lambda wait: {"max_wait": wait})
    backlogs = st.floats(0.5, 100).map(lambda jobs: {"backlog_per_replica": jobs})
    bounds = st.tuples(st.integers(0, 10), st.integers(0, 90)).map(
        lambda pair: {"min_replicas": pair[0], "max_replicas": max(1, pair[0] + pair[1])}
    )
    return st.builds(
        lambda kind, bound, floor: Objective(**{**kind, **bound, "fallback_replicas": floor, **fixed}),
        waits | backlogs,
        bounds,
        st.integers(0, 20),
    )


@st.composite
def looks(draw: st.DrawFn, replicas: int = 50) -> QueueLook:
    queued = draw(st.integers(0, 5_000))
    oldest = draw(st.floats(0, 300))
    busy = draw(st.integers(0, replicas))
    positions = sorted({int(share * (queued - 1)) for share in (0, 0.1, 0.5, 1)}) if queued else []
    ages = tuple((position, oldest * (1 - position / queued)) for position in positions)
    submitted = draw(st.integers(0, 10**6))
    return QueueLook(
        queued,
        in_flight=draw(st.integers(busy, busy * 20)),
        ages=ages if draw(st.booleans()) else (),
        submitted=submitted,
        ended=draw(st.integers(0, submitted)),
        busy=busy,
        jobs_done=draw(st.integers(0, 10**6)),
        busy_seconds=draw(st.floats(0, 10**6)),
        runners=draw(st.integers(1, 8)),
        held=tuple(draw(st.lists(st.floats(0, 300), max_size=busy))),
    )


@st.composite
def observations(draw: st.DrawFn, now: float = NOW) -> Observation:
    replicas = draw(st.integers(0, 50))
    ready = draw(st.integers(0, replicas))
    starting = draw(st.lists(st.floats(0, 120), max_size=replicas - ready))
    fleet = Fleet(replicas, ready, tuple(starting), tuple(draw(st.lists(st.floats(0.1, 120), max_size=3))))
    return Observation(now, fleet, draw(looks(ready)))


memories = st.builds(
    Memory,
    service_rate=st.none() | st.floats(0.001, 10_000),
    cold_starts=st.lists(st.floats(0.1, 120), max_size=5).map(tuple),
    peaks=st.lists(st.tuples(st.floats(900, 1_000), st.integers(0, 100)), max_size=1).map(tuple),
    quiet_since=st.none() | st.floats(900, 1_000),
    last_arrival=st.none() | st.floats(900, 1_000),
    ready_once=st.booleans(),
)


@given(objectives(), observations(), memories)
def test_stays_in_bounds_unless_busy_workers_are_above_them(
    objective: Objective, seen: Observation, memory: Memory
) -> None:
    desired = decide(objective, seen, memory).desired

    assert seen.queue is not None
    assert objective.min_replicas <= desired <= max(objective.max_replicas, seen.queue.busy)


@given(objectives(), observations(), memories)
def test_never_lowers_below_what_is_busy(objective: Objective, seen: Observation, memory: Memory) -> None:
    assert seen.queue is not None
    assert decide(objective, seen, memory).desired >= min(seen.queue.busy, seen.fleet.replicas)


@given(objectives(), observations(), memories, st.integers(1, 5_000))
def test_more_waiting_jobs_never_mean_fewer_replicas(
    objective: Objective, seen: Observation, memory: Memory, more: int
) -> None:
    assert seen.queue is not None
    fresh = replace(seen.queue, ages=())
    longer = replace(fresh, queued=fresh.queued + more)

    few = decide(objective, replace(seen, queue=fresh), memory).desired
    many = decide(objective, replace(seen, queue=longer), memory).desired

    assert many >= few


@given(objectives(suspend=True), observations(), memories)
def test_changes_nothing_when_suspended(objective: Objective, seen: Observation, memory: Memory) -> None:
    assert decide(objective, seen, memory).desired == seen.fleet.replicas
    assert decide(objective, replace(seen, queue=None), memory).desired == seen.fleet.replicas


@given(objectives(), observations(), memories, st.floats(0, 10_000))
def test_never_scales_in_while_blind(
    objective: Objective, seen: Observation, memory: Memory, blind_seconds: float
) -> None:
    memory = replace(memory, blind_since=NOW - blind_seconds)

    decision = decide(objective, replace(seen, queue=None), memory)

    floor = max(objective.min_replicas, min(objective.fallback_replicas, objective.max_replicas))
    assert decision.desired == max(seen.fleet.replicas, floor if blind_seconds >= objective.fallback_after else 0)


@given(objectives(), observations(), memories)
def test_a_restart_from_saved_memory_decides_the_same(objective: Objective, seen: Observation, memory: Memory) -> None:
    before = decide(objective, seen, memory).memory
    saved = Memory.from_json(json.loads(json.dumps(before.to_json())))
    later = replace(seen, now=NOW + 1)

    assert decide(objective, later, saved) == decide(objective, later, before)


@given(st.integers(1, 2_000), st.floats(0.1, 100))
def test_the_plain_law_divides_the_backlog(jobs: int, per_replica: float) -> None:
    objective = Objective(backlog_per_replica=per_replica, max_replicas=100_000)
    seen = Observation(NOW, Fleet(0, 0), QueueLook(jobs, 0))

    assert decide(objective, seen, Memory()).desired == math.ceil(jobs / per_replica)


def test_goes_from_zero_to_all_in_one_step() -> None:
    """400 jobs of 1 s, a wait of at most 30 s and a start of 4 s: n workers do n * (25.5 - 4) jobs in the time left."""
    memory = Memory(service_rate=1.0, cold_starts=(4.0,))
    seen = Observation(NOW, Fleet(0, 0), QueueLook(400, 0, ages=((0, 0.0), (399, 0.0))))

    decision = decide(Objective(max_wait=30), seen, memory)

    assert decision.desired == math.ceil(400 / 21.5)
    assert decision.reason == "Deadline"
    assert decision.binding_position == 400


@given(observations(), memories, st.floats(1, 600))
def test_never_asks_for_more_new_workers_than_there_are_jobs(seen: Observation, memory: Memory, wait: float) -> None:
    assert seen.queue is not None
    decision = decide(Objective(max_wait=wait, max_replicas=10_000), seen, memory)

    jobs = seen.queue.queued + math.ceil(seen.queue.in_flight / 2)
    assert decision.desired <= max(seen.fleet.replicas + jobs, *(peak for _, peak in memory.peaks), 1)


def test_long_jobs_get_a_worker_each_when_a_worker_has_time_to_begin_one_alone() -> None:
    """Jobs of 10 s that must begin within 25.5 s, and a start of 20 s: each new worker begins one in time."""
    memory = Memory(service_rate=0.1, cold_starts=(20.0,))
    look = QueueLook(50, 0, ages=((0, 0.0), (49, 0.0)))
    first = decide(Objective(max_wait=30, max_replicas=100), Observation(NOW, Fleet(0, 0), look), memory)
    later = replace(look, ages=((0, 4.0), (49, 4.0)))
    again = decide(
        Objective(max_wait=30, max_replicas=100),
        Observation(NOW + 4, Fleet(50, 0, starting=(4.0,) * 50), later),
        first.memory,
    )

    assert (first.desired, again.desired) == (50, 50)


def test_workers_that_are_starting_are_not_asked_for_again() -> None:
    memory = Memory(service_rate=1.0, cold_starts=(4.0,))
    look = QueueLook(400, 0, ages=((0, 1.0), (399, 1.0)))
    objective = Objective(max_wait=30)

    for age in (0.0, 1.0, 3.9):
        later = Observation(NOW, Fleet(19, 0, starting=(age,) * 19), replace(look, ages=((0, age), (399, age))))
        assert decide(objective, later, memory).desired == 19


@pytest.mark.parametrize(("jobs", "fewest", "kept"), [(345, 16, 17), (300, 14, 16), (42, 2, 3)])
def test_while_some_start_all_jobs_keep_half_a_start_to_spare(jobs: int, fewest: int, kept: int) -> None:
    """22.5 s are left for them: a worker that is ready does 22.5, one that starts, with 1 s to go, 21.5; 2 fewer each
    with half a start to spare."""
    memory = Memory(service_rate=1.0, cold_starts=(4.0,))
    look = QueueLook(jobs, 0, ages=((0, 3.0), (jobs - 1, 3.0)))

    def desired(fleet: Fleet) -> int:
        return decide(Objective(max_wait=30), Observation(NOW, fleet, look), memory).desired

    assert desired(Fleet(17, 3, starting=(3.0,) * 14)) == kept
    assert desired(Fleet(17, 17)) == fewest


def test_one_that_cannot_start_keeps_nobody_from_being_given_up() -> None:
    memory = Memory(service_rate=1.0, cold_starts=(4.0,))
    look = QueueLook(345, 0, ages=((0, 3.0), (344, 3.0)))

    decision = decide(Objective(max_wait=30), Observation(NOW, Fleet(17, 16, starting=(60.0,)), look), memory)

    assert decision.desired == 16


def test_half_of_the_time_left_is_spare_enough_where_starts_take_longer() -> None:
    """25.5 s are left for 100 jobs: in half of them eight workers that are ready begin 102."""
    memory = Memory(service_rate=1.0, cold_starts=(120.0,))
    look = QueueLook(100, 0, ages=((0, 0.0), (99, 0.0)))

    decision = decide(Objective(max_wait=30), Observation(NOW, Fleet(17, 16, starting=(1.0,)), look), memory)

    assert decision.desired == 8


def test_a_steady_flow_is_not_scaled_in_when_its_queue_is_empty() -> None:
    memory = Memory(service_rate=1.0, cold_starts=(4.0,))
    decision = None
    for second in range(120):
        look = QueueLook(0, 8, submitted=10 * second, ended=10 * second - 8, busy=8)
        decision = decide(Objective(max_wait=30), Observation(NOW + second, Fleet(12, 12), look), memory)
        memory = decision.memory

    assert decision is not None
    assert decision.desired == 10
    assert decision.reason == "Arrivals"


def test_a_burst_that_is_over_lets_its_workers_go_at_once_and_the_last_one_later() -> None:
    memory = Memory(service_rate=1.0, cold_starts=(5.0,))
    objective = Objective(max_wait=30)
    burst = Observation(NOW, Fleet(0, 0), QueueLook(200, 0, submitted=200))
    memory = decide(objective, burst, memory).memory
    done = QueueLook(0, 0, submitted=200, ended=200)

    soon = decide(objective, Observation(NOW + 20, Fleet(10, 10), done), memory)
    late = decide(objective, Observation(NOW + 40, Fleet(1, 1), done), soon.memory)

    assert (soon.desired, soon.reason) == (1, "Keeping")
    assert (late.desired, late.reason) == (0, "Idle")


def test_idle_workers_are_kept_for_half_a_start_while_jobs_arrive() -> None:
    memory = Memory(service_rate=1.0, cold_starts=(20.0,))
    objective = Objective(max_wait=30)
    memory = decide(objective, Observation(NOW, Fleet(0, 0), QueueLook(100, 0, submitted=100)), memory).memory

    kept = decide(objective, Observation(NOW + 9, Fleet(14, 14), QueueLook(0, 1, submitted=110, ended=109)), memory)
    released = decide(
        objective, Observation(NOW + 20, Fleet(14, 14), QueueLook(0, 1, submitted=111, ended=110)), kept.memory
    )

    assert (kept.desired, kept.reason) == (14, "Keeping")
    assert released.desired < 14


def steady_flow(queued: int) -> Decision:
    """Decide after 20 jobs a second, of 1 s each, have come to 20 workers, and so many wait."""
    objective = Objective(max_wait=30, max_replicas=100)
    memory, decision = Memory(service_rate=1.0, cold_starts=(4.0,)), None
    for second in range(100):
        look = QueueLook(queued, 20, submitted=20 * second, ended=20 * second - queued - 20, busy=20)
        decision = decide(objective, Observation(NOW + second, Fleet(20, 20), look), memory)
        memory = decision.memory
    assert decision is not None
    return decision


def test_a_flow_whose_queue_nears_its_promise_gets_workers_to_catch_up() -> None:
    """240 jobs are 0.4 of the wait; what is more is worked off within two waits, by 20 + (400 - 240) / 60 workers."""
    comfortable, near = steady_flow(240), steady_flow(400)

    assert comfortable.desired == 20
    assert (near.desired, near.reason) == (math.ceil(20 + 160 / 60 - 0.3), "Arrivals")
    assert near.message == "20.0 jobs/s keep arriving, a worker does 1/s, and 160 waiting ones are to be caught up with"


def test_a_burst_is_told_by_its_deadlines_not_as_a_flow() -> None:
    seen = Observation(NOW, Fleet(0, 0), QueueLook(60, 0, ages=((59, 0.0),)))

    decision = decide(Objective(max_wait=2, max_replicas=3), seen, Memory())

    assert (decision.desired, decision.reason) == (3, "Deadline")
    assert decision.message == "60 jobs wait and there is no worker"


def needed(held: tuple[float, ...], in_flight: int = 2) -> int:
    """Give the workers wanted beside two busy ones when ten jobs of 1 s must begin within 5 s."""
    look = QueueLook(10, in_flight, ages=((9, 0.0),), busy=2, held=held)
    memory = Memory(service_rate=1.0, cold_starts=(1.0,))
    seen = Observation(NOW, Fleet(2, 2), look)
    return decide(Objective(max_wait=7, max_replicas=100), seen, memory).desired


def test_a_worker_that_is_at_a_slow_job_is_not_counted_on() -> None:
    assert needed(held=(0.5, 2.9)) == needed(held=())
    assert needed(held=(0.5, 4.0)) > needed(held=())
    assert needed(held=(4.0, 4.0)) > needed(held=(0.5, 4.0))


def test_a_worker_that_took_many_jobs_at_once_is_not_slow_before_their_time() -> None:
    assert needed(held=(0.5, 4.0), in_flight=4) == needed(held=(), in_flight=4)


def wanted_beside(starting: tuple[float, ...], queued: int = 50) -> Decision:
    """Decide for jobs of 1 s that wait for 10 s already, with two ready workers and others starting since."""
    look = QueueLook(queued, 2, ages=((0, 10.0), (queued - 1, 10.0)), busy=2)
    memory = Memory(service_rate=1.0, cold_starts=(5.0,))
    seen = Observation(NOW, Fleet(2 + len(starting), 2, starting), look)
    return decide(Objective(max_wait=20, max_replicas=100), seen, memory)


def test_a_cluster_without_room_is_not_asked_for_ever_more() -> None:
    stuck = wanted_beside((60.0,) * 12)

    assert (stuck.desired, stuck.reason) == (14, "Starting")
    assert stuck.message.startswith("12 replicas have been starting for more than 15 s")
    assert wanted_beside((5.0,) * 2).desired > 4


def test_a_few_that_cannot_start_keep_nobody_else_from_coming() -> None:
    assert wanted_beside((600.0,)).desired > 3
    assert wanted_beside((60.0,) * 12, queued=500).desired > 14


def test_says_when_the_maximum_is_not_enough() -> None:
    seen = Observation(NOW, Fleet(5, 5), QueueLook(10_000, 0))

    decision = decide(Objective(max_wait=10, max_replicas=5), seen, Memory(service_rate=1.0))

    assert decision.desired == 5
    assert decision.slack is not None
    assert decision.slack < 0


def test_arrivals_during_a_long_silence_do_not_look_like_a_flow() -> None:
    before = Observation(NOW, Fleet(1, 1), QueueLook(0, 0))
    after = Observation(NOW + 600, Fleet(1, 1), QueueLook(0, 0, submitted=10_000, ended=10_000))

    memory = decide(Objective(max_wait=30), before, Memory(service_rate=1.0)).memory

    assert decide(Objective(max_wait=30), after, memory).arrival_rate == 0


@pytest.mark.parametrize(
    ("objective", "start", "kept"),
    [
        (Objective(max_wait=30), 2.0, 5.0),
        (Objective(max_wait=30), 20.0, 10.0),
        (Objective(max_wait=20), 20.0, 20.0),
        (Objective(backlog_per_replica=5), 20.0, 10.0),
    ],
)
def test_the_last_worker_stays_for_half_a_start_or_a_whole_one_where_that_would_be_too_late(
    objective: Objective, start: float, kept: float
) -> None:
    def desired(quiet: float) -> int:
        memory = Memory(cold_starts=(start,), quiet_since=NOW - quiet, last_arrival=NOW - 1_000)
        return decide(objective, Observation(NOW, Fleet(3, 3), QueueLook(0, 0)), memory).desired

    assert [desired(quiet) for quiet in (kept - 0.1, kept)] == [1, 0]


def idle(memory: Memory, fleet: Fleet, objective: Objective | None = None) -> Decision:
    """Decide when nothing waits and nothing has for long."""
    memory = replace(memory, quiet_since=NOW - 1_000)
    return decide(objective or Objective(max_wait=30), Observation(NOW, fleet, QueueLook(0, 0)), memory)


@pytest.mark.parametrize("objective", [Objective(max_wait=30), Objective(backlog_per_replica=5)])
def test_the_first_worker_of_an_image_is_kept_until_it_has_been_ready(objective: Objective) -> None:
    first = idle(Memory(), Fleet(1, 0, starting=(500.0,)), objective)
    unmade = idle(Memory(), Fleet(3, 0), objective)

    assert (first.desired, first.reason) == (1, "FirstStart")
    assert (unmade.desired, unmade.reason) == (1, "FirstStart")


def test_a_first_start_ends_once_a_worker_has_been_ready() -> None:
    ready = idle(Memory(), Fleet(1, 1, cold_starts=(7.0,)))
    seen_ready_only = idle(Memory(), Fleet(1, 1))

    assert (ready.desired, ready.reason) == (0, "Idle")
    for known in (ready.memory, seen_ready_only.memory, Memory(cold_starts=(7.0,))):
        assert idle(known, Fleet(1, 0, starting=(3.0,))).desired == 0


@given(objectives(), observations(), memories)
def test_a_first_start_asks_for_nothing_new(objective: Objective, seen: Observation, memory: Memory) -> None:
    fresh = replace(memory, ready_once=False, cold_starts=())

    decision = decide(objective, seen, fresh)

    if decision.reason == "FirstStart":
        assert decision.desired == 1
        assert seen.fleet.replicas >= 1


def test_nothing_is_started_first_where_nothing_is() -> None:
    assert idle(Memory(), Fleet(0, 0)).desired == 0


@given(objectives(), observations(), memories, st.floats(0.001, 100_000))
def test_a_clock_that_was_set_back_changes_nothing(
    objective: Objective, seen: Observation, memory: Memory, back: float
) -> None:
    """What is decided a moment later is decided too when the clock shows an earlier time by then."""
    before = decide(objective, seen, memory).memory
    earlier = decide(objective, replace(seen, now=NOW - back), before)
    same = decide(objective, seen, before)

    assert (earlier.desired, earlier.reason) == (same.desired, same.reason)


def test_a_clock_that_was_set_back_leaves_the_arrival_rate_true() -> None:
    memory, objective = Memory(service_rate=1.0), Objective(max_wait=30)
    rates = []
    for second in range(200):
        now = NOW + second - (3_600 if second > 100 else 0)
        look = QueueLook(0, 5, submitted=5 * second, ended=5 * second, busy=5)
        decision = decide(objective, Observation(now, Fleet(5, 5), look), memory)
        memory = decision.memory
        rates.append(decision.arrival_rate)

    assert rates[-1] == pytest.approx(5, rel=0.1)
    assert max(rates) < 6


def test_learns_the_service_rate_from_what_workers_report() -> None:
    memory = Memory()
    for second in range(100):
        look = QueueLook(10, 4, jobs_done=8 * second, busy_seconds=4.0 * second, busy=4, runners=2)
        memory = decide(Objective(max_wait=30), Observation(NOW + second, Fleet(4, 4), look), memory).memory

    assert memory.service_rate == pytest.approx(4.0)


def learned_after(memory: Memory, seconds_each: list[float]) -> float:
    """Give the seconds a job that one worker has taught, job by job."""
    busy = 0.0
    for jobs, seconds in enumerate([0.0, *seconds_each]):
        busy += seconds
        look = QueueLook(10, 1, jobs_done=jobs, busy_seconds=busy, busy=1)
        memory = decide(Objective(max_wait=30), Observation(NOW + jobs, Fleet(1, 1), look), memory).memory
    assert memory.service_rate is not None
    return 1 / memory.service_rate


def test_the_first_job_teaches_no_more_than_the_next_ones() -> None:
    assert learned_after(Memory(), [20.0, *[1.0] * 99]) == pytest.approx(1.19)


def test_a_few_slow_jobs_do_not_look_like_a_slow_model() -> None:
    usual = [20.0 if number % 100 == 50 else 1.0 for number in range(1_500)]

    assert learned_after(Memory(), usual) == pytest.approx(1.19, abs=0.02)
    assert learned_after(Memory(), [*usual, 20.0, 20.0]) < 1.25


def test_a_rate_learned_at_another_time_is_soon_outweighed() -> None:
    assert learned_after(Memory(service_rate=10.0), [1.0] * 400) > 0.65


@pytest.mark.parametrize(
    "wrong", [{}, {"max_wait": 1.0, "backlog_per_replica": 1.0}, {"max_wait": 1.0, "min_replicas": 30}]
)
def test_refuses_an_objective_that_cannot_be_meant(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"max_wait|min_replicas"):
        Objective(**wrong)  # type: ignore[arg-type]
