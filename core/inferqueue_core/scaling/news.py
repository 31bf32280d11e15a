"""What is shown of a decision to all who read the queue, and when it is news to them."""

from inferqueue_core.jobs import QueueDecision, QueueObservation
from inferqueue_core.scaling.values import Decision

# A decision that stays the same is written this often, as a sign of life; Redis forgets it after three times as long.
REPEAT_SECONDS = 30.0


def news_of(decision: Decision, replicas: int, seen: QueueObservation) -> QueueDecision | None:
    """Give what to write of a decision made from the look `seen`; None when that look found it written already.

    `replicas` are those that are asked for now that the decision was followed.
    """
    news = QueueDecision(
        desired_replicas=decision.desired,
        replicas=replicas,
        reason=decision.reason,
        message=decision.message,
        decided_at=seen.now_ms,
    )
    told = seen.decision
    if told is None or abs(news.decided_at - told.decided_at) >= 1000 * REPEAT_SECONDS:
        return news
    return None if _core(news) == _core(told) else news


def _core(decision: QueueDecision) -> tuple[int, int, str]:
    """Give what makes a decision another one: the numbers in its message change with every look."""
    return decision.desired_replicas, decision.replicas, decision.reason
