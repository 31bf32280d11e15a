"""What Prometheus is told of a queue."""

import pytest

from inferqueue_core.scaling import Decision, QueueLook
from inferqueue_operator.metrics import OperatorMetrics
from inferqueue_operator.resource import Identity
from inferqueue_operator.statuses import Finding

IDENTITY = Identity("test", "iris", "1")


@pytest.fixture
def metrics() -> OperatorMetrics:
    return OperatorMetrics()


def read(metrics: OperatorMetrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"inferqueue_operator_{name}", {"namespace": "test", "name": "iris"})


def test_the_oldest_job_counts_whatever_its_position(metrics: OperatorMetrics) -> None:
    look = QueueLook(3, 0, ages=((0, 2.0), (1, 40.0), (2, 1.0)))
    metrics.note_decision(IDENTITY, look, Decision(1, "Deadline", ""), 0)
    assert read(metrics, "queue_oldest_age_seconds") == 40
    metrics.note_decision(IDENTITY, QueueLook(0, 0), Decision(0, "Idle", ""), 0)
    assert read(metrics, "queue_oldest_age_seconds") == 0


@pytest.mark.parametrize(
    ("finding", "shown"),
    [
        (Finding(decision=Decision(20, "Maximum", "")), {"scaling_limited"}),
        (Finding(decision=Decision(2, "Fallback", ""), unreadable="away", fallback=True), {"fallback_active"}),
        (Finding(decision=Decision(2, "Suspended", ""), suspended=True), {"suspended"}),
        (Finding(problem=("ScaleTargetNotFound", "")), set()),
    ],
)
def test_what_holds_is_1_and_all_else_0(metrics: OperatorMetrics, finding: Finding, shown: set[str]) -> None:
    metrics.note_finding(IDENTITY, finding, 30)
    names = ("scaling_limited", "fallback_active", "suspended")
    assert {name: read(metrics, name) for name in names} == {name: float(name in shown) for name in names}


def test_the_promised_wait_goes_when_the_objective_is_another(metrics: OperatorMetrics) -> None:
    metrics.note_finding(IDENTITY, Finding(), 30)
    assert read(metrics, "objective_max_wait_seconds") == 30
    metrics.note_finding(IDENTITY, Finding(), None)
    assert read(metrics, "objective_max_wait_seconds") is None


def test_a_queue_that_goes_takes_its_metrics_along(metrics: OperatorMetrics) -> None:
    metrics.note_decision(IDENTITY, QueueLook(0, 0), Decision(0, "Idle", ""), 0)
    metrics.note_finding(IDENTITY, Finding(), 30)
    metrics.note_scaling(IDENTITY, 1, 0)
    metrics.queue_errors.labels("test", "iris").inc()
    metrics.reconciles.labels("test", "iris", "success").inc()
    metrics.forget(IDENTITY)
    assert not [sample for family in metrics.registry.collect() for sample in family.samples if "name" in sample.labels]
