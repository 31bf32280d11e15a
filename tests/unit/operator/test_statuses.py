"""The status, and when it is written."""

from dataclasses import replace
from typing import Any

import pytest

from inferqueue_core.scaling import Decision, Fleet, Memory, Objective, Observation, QueueLook, decide
from inferqueue_operator.statuses import (
    MEMORY_SECONDS,
    QUIET_SECONDS,
    Finding,
    is_due,
    load_memory,
    save_memory,
    status_of,
)

DECISION = Decision(3, "Deadline", "job 9 of 9 would be late", queued=9, in_flight=2, slack=float("-inf"))
FOLLOWING = Finding(replicas=3, desired=3, decision=DECISION)


def conditions(finding: Finding) -> dict[str, tuple[str, str]]:
    entries = status_of(finding, 1, {}, 0)["conditions"]
    return {entry["type"]: (entry["status"], entry["reason"]) for entry in entries}


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (
            FOLLOWING,
            {
                "Ready": ("True", "Reconciled"),
                "ScalingActive": ("True", "FollowingQueue"),
                "ScalingLimited": ("False", "DesiredWithinRange"),
                "FallbackActive": ("False", "NotNeeded"),
            },
        ),
        (
            Finding(problem=("ScaleTargetNotFound", "there is no Deployment")),
            {
                "Ready": ("False", "ScaleTargetNotFound"),
                "ScalingActive": ("False", "ScaleTargetNotFound"),
                "ScalingLimited": ("Unknown", "NotKnown"),
            },
        ),
        (
            Finding(3, 3, DECISION, unreadable="gone"),
            {
                "Ready": ("False", "QueueUnreachable"),
                "ScalingActive": ("False", "QueueUnreachable"),
                "ScalingLimited": ("Unknown", "NotKnown"),
            },
        ),
        (
            Finding(3, 3, DECISION, unreadable="gone", fallback=True),
            {"ScalingActive": ("False", "FallbackInUse"), "FallbackActive": ("True", "QueueUnreachable")},
        ),
        (
            Finding(3, 3, DECISION, suspended=True),
            {"Ready": ("True", "Reconciled"), "ScalingActive": ("False", "Suspended")},
        ),
        (Finding(3, 3, Decision(3, "Maximum", "")), {"ScalingLimited": ("True", "TooManyReplicas")}),
        (Finding(3, 3, Decision(3, "Minimum", "")), {"ScalingLimited": ("True", "TooFewReplicas")}),
    ],
)
def test_conditions(finding: Finding, expected: dict[str, tuple[str, str]]) -> None:
    found = conditions(finding)
    assert len(found) == 4
    assert expected.items() <= found.items()


def test_numbers_come_from_the_decision_and_infinity_is_left_out() -> None:
    status = status_of(FOLLOWING, 7, {}, 0)
    assert (status["backlog"], status["inFlight"], status["desiredReplicas"]) == (9, 2, 3)
    assert status["observedGeneration"] == 7
    assert status["decision"]["slackSeconds"] is None


def test_without_a_look_no_backlog_is_claimed() -> None:
    status = status_of(Finding(3, 3, DECISION, unreadable="gone"), 1, {}, 0)
    assert (status["backlog"], status["inFlight"], status["replicas"]) == (None, None, 3)


def test_why_more_workers_stay_than_are_needed_is_said() -> None:
    kept = Finding(5, 3, DECISION, kept="a rollout of the Deployment is under way")
    (active,) = (entry for entry in status_of(kept, 1, {}, 0)["conditions"] if entry["type"] == "ScalingActive")
    assert active["message"] == (
        "the replicas follow the queue; 5 stay where 3 would do, for a rollout of the Deployment is under way"
    )


def test_a_condition_keeps_its_time_until_it_turns() -> None:
    first = status_of(FOLLOWING, 1, {}, 0)
    second = status_of(FOLLOWING, 1, first, 100)
    assert second["conditions"] == first["conditions"]
    third = status_of(Finding(problem=("SpecInvalid", "")), 1, second, 100)
    times = {entry["type"]: entry["lastTransitionTime"] for entry in third["conditions"]}
    assert times["Ready"] == "1970-01-01T00:01:40Z"
    assert times["FallbackActive"] == "1970-01-01T00:00:00Z"


def status(**changes: Any) -> dict[str, Any]:
    return status_of(FOLLOWING, 1, {}, 0) | changes


def test_lasting_changes_are_written_at_once() -> None:
    assert is_due({}, status(), 0)
    assert is_due(status(), status(desiredReplicas=4), 0)
    assert is_due(status(), status(observedGeneration=2), 0)
    assert is_due(status(), status_of(Finding(problem=("SpecInvalid", "")), 1, {}, 0), 0)


def test_passing_changes_wait() -> None:
    assert not is_due(status(), status(backlog=5), QUIET_SECONDS / 2)
    assert is_due(status(), status(backlog=5), QUIET_SECONDS)
    assert not is_due(status(memory="old"), status(memory="new"), 1000)
    assert not is_due(status(), status(), 1000)


def test_a_steady_flow_is_written_now_and_then_for_the_sake_of_the_memory() -> None:
    flowing = status_of(Finding(3, 3, replace(DECISION, arrival_rate=5.0)), 1, {}, 0)
    assert not is_due(flowing, flowing, MEMORY_SECONDS / 2)
    assert is_due(flowing, flowing, MEMORY_SECONDS)


def test_what_the_server_gives_back_is_no_change() -> None:
    stored = {name: value for name, value in status().items() if value is not None}
    assert not is_due(stored, status(), 1000)


def test_the_memory_survives_and_leads_to_the_same_decision() -> None:
    objective, fleet = Objective(max_wait=30), Fleet(2, 2)
    memory = Memory()
    for second in range(40):
        look = QueueLook(second % 7, 1, submitted=3 * second, jobs_done=2 * second, busy_seconds=1.7 * second)
        memory = decide(objective, Observation(1e9 + second, fleet, look), memory).memory
    text = save_memory(memory)
    last = Observation(1e9 + 41, fleet, QueueLook(9, 2, submitted=130))
    there, here = decide(objective, last, load_memory({"memory": text})), decide(objective, last, memory)
    assert (there.desired, there.reason) == (here.desired, here.reason)
    assert there.arrival_rate == pytest.approx(here.arrival_rate, abs=0.01)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "12", '{"peaks": 1}', '{"counts": [[1]]}', "not JSON"])
def test_a_memory_that_cannot_be_read_is_an_empty_one(text: str) -> None:
    assert load_memory({"memory": text}) == Memory()
    assert load_memory({}) == Memory()


def test_a_memory_too_long_is_not_kept() -> None:
    assert save_memory(Memory(cold_starts=tuple(range(30_000)))) is None
