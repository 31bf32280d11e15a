"""What is held, what is lost or canceled, and which runs are to end."""

import time

from msgspec.structs import replace

from inferqueue_core.jobs import LeaseState
from inferqueue_worker.held import HeldJobs
from support.served import claimed

ONE, TWO = claimed([1], 1), claimed([2], 2)
FAR = time.monotonic() + 3600


def test_jobs_are_held_until_they_are_dropped() -> None:
    held = HeldJobs()
    held.add([ONE, TWO])
    held.drop([ONE])
    assert held.all() == [TWO]


def test_a_run_stops_when_none_of_its_jobs_is_wanted() -> None:
    held = HeldJobs()
    held.add([ONE, TWO])
    with held.run([ONE, TWO], FAR) as control:
        held.note([ONE], [LeaseState.CANCEL_REQUESTED])
        assert control.reason is None
        held.note([TWO], [LeaseState.LOST])
        assert control.reason == "canceled"
    assert held.state(ONE) is LeaseState.CANCEL_REQUESTED
    assert held.state(TWO) is LeaseState.LOST


def test_what_is_learned_of_a_dropped_job_is_forgotten() -> None:
    held = HeldJobs()
    held.add([ONE])
    held.drop([ONE])
    held.note([ONE], [LeaseState.LOST])
    held.add([ONE])
    assert held.state(ONE) is LeaseState.HELD


def test_a_lost_attempt_does_not_touch_the_next_one_of_the_same_job() -> None:
    held = HeldJobs()
    again = replace(ONE, fence="2:1-other:worker-1")
    held.add([ONE])
    held.note([ONE], [LeaseState.LOST])
    held.add([again])
    assert held.state(again) is LeaseState.HELD
    held.drop([ONE])
    assert held.all() == [again]


def test_only_a_run_past_its_deadline_is_stopped() -> None:
    held = HeldJobs()
    with held.run([ONE], 10.0) as early, held.run([TWO], 20.0) as late:
        assert held.stop_overdue(9.0) == 10.0
        assert held.stop_overdue(10.0) == 20.0
        assert (early.reason, late.reason) == ("timeout", None)
        assert held.stop_overdue(30.0) is None


def test_the_first_reason_to_stop_counts() -> None:
    held = HeldJobs()
    stops: list[str] = []
    with held.run([ONE], 10.0) as control:
        control.on_stop(lambda: stops.append("stopped"))
        held.stop_overdue(11.0)
        held.stop_all()
        assert control.reason == "timeout"
    assert stops == ["stopped"]


def test_at_shutdown_runs_under_way_and_later_ones_are_stopped() -> None:
    held = HeldJobs()
    with held.run([ONE], FAR) as running:
        held.stop_all()
        assert running.reason == "shutdown"
    with held.run([TWO], FAR) as later:
        stops: list[str] = []
        later.on_stop(lambda: stops.append("stopped"))
        assert later.reason == "shutdown"
        assert stops == ["stopped"]


def test_a_run_that_does_not_end_when_it_is_stopped_is_stuck() -> None:
    held = HeldJobs()
    with held.run([ONE], 10.0):
        held.stop_overdue(11.0)
        assert not held.is_stuck(40.0, patience=30.0)
        assert held.is_stuck(40.1, patience=30.0)
    assert not held.is_stuck(40.1, patience=30.0)
