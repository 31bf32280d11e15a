"""When a decision is news."""

import dataclasses

import pytest
from msgspec.structs import replace

from inferqueue_core.jobs import QueueDecision, QueueObservation
from inferqueue_core.scaling import Decision
from inferqueue_core.scaling.news import news_of

DECISION = Decision(3, "Deadline", "job 9 of 9 would be late by 2.0 s with 1 replicas")
SEEN = QueueObservation(100_000, 9, 0, 0, 0)
WRITTEN = QueueDecision(
    desired_replicas=3, replicas=1, reason="Deadline", message="job 8 of 8 would be late", decided_at=99_000
)


def test_a_decision_that_is_not_there_is_news_with_the_time_of_the_look() -> None:
    assert news_of(DECISION, 1, SEEN) == QueueDecision(
        desired_replicas=3, replicas=1, reason="Deadline", message=DECISION.message, decided_at=100_000
    )


def test_other_numbers_in_the_same_decision_are_no_news() -> None:
    assert news_of(DECISION, 1, replace(SEEN, decision=WRITTEN)) is None


@pytest.mark.parametrize(
    ("decision", "replicas"),
    [
        (dataclasses.replace(DECISION, desired=4), 1),
        (DECISION, 2),
        (dataclasses.replace(DECISION, reason="Maximum"), 1),
    ],
)
def test_another_decision_is_news(decision: Decision, replicas: int) -> None:
    assert news_of(decision, replicas, replace(SEEN, decision=WRITTEN)) is not None


@pytest.mark.parametrize(("now_ms", "is_news"), [(128_999, False), (129_000, True), (69_000, True)])
def test_the_same_decision_is_news_now_and_then_also_after_the_clock_was_put_back(now_ms: int, is_news: bool) -> None:
    news = news_of(DECISION, 1, replace(SEEN, now_ms=now_ms, decision=WRITTEN))
    assert (news is not None) == is_news
