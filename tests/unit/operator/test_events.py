"""Events: one for each transition."""

import pytest

from inferqueue_operator.events import scaled, transitions
from inferqueue_operator.statuses import Finding, status_of

GOOD = status_of(Finding(1, 1), 1, {}, 0)
LOST = status_of(Finding(1, 1, unreadable="Redis is gone"), 1, {}, 0)
FALLEN_BACK = status_of(Finding(1, 1, unreadable="Redis is gone", fallback=True), 1, {}, 0)
SUSPENDED = status_of(Finding(1, 1, suspended=True), 1, {}, 0)
STUCK = status_of(Finding(problem=("ScaleTargetNotFound", "there is none")), 1, {}, 0)


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        ({}, GOOD, []),
        (GOOD, GOOD, []),
        (GOOD, LOST, ["QueueUnreachable"]),
        (LOST, LOST, []),
        (LOST, FALLEN_BACK, ["FallbackActivated"]),
        (FALLEN_BACK, GOOD, ["QueueRecovered", "FallbackDeactivated"]),
        (GOOD, SUSPENDED, ["Suspended"]),
        (SUSPENDED, GOOD, ["Resumed"]),
        ({}, STUCK, ["ScaleTargetNotFound"]),
        (STUCK, GOOD, []),
    ],
)
def test_transitions(before: dict[str, object], after: dict[str, object], reasons: list[str]) -> None:
    assert [event.reason for event in transitions(before, after)] == reasons


def test_troubles_are_warnings() -> None:
    assert [event.kind for event in transitions(GOOD, FALLEN_BACK)] == ["Warning", "Warning"]
    assert [event.kind for event in transitions(FALLEN_BACK, GOOD)] == ["Normal", "Normal"]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [(0, 3, "ActivatedFromZero"), (2, 3, "ScaledUp"), (3, 2, "ScaledDown"), (3, 0, "ScaledToZero")],
)
def test_scaling(before: int, after: int, reason: str) -> None:
    event = scaled("worker", before, after, "9 jobs wait")
    assert event.reason == reason
    assert event.message == f"Scaled Deployment worker from {before} to {after}: 9 jobs wait"
