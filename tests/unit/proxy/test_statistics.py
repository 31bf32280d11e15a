from datetime import UTC, datetime, timedelta

from inferqueue_core.datatypes import Datatype
from inferqueue_core.jobs import Job, JobStatus
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_proxy.statistics import InferStatistics

SPEC = TensorSpec("x", Datatype.FP32, (-1,))
MODEL = ModelInfo(name="m", version="1", queue="q", inputs=(SPEC,), outputs=(SPEC,))
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
JOB = Job(
    "j",
    JobStatus.COMPLETED,
    created_at=BEGIN,
    started_at=BEGIN + timedelta(milliseconds=2),
    completed_at=BEGIN + timedelta(milliseconds=5),
)


def test_requests_and_their_times_add_up() -> None:
    statistics = InferStatistics()
    statistics.succeeded(MODEL, 4, JOB, 0.01, 1.0)
    statistics.succeeded(MODEL, 1, JOB, 0.02, 2.0)
    statistics.failed(MODEL, 0.5)
    shown = statistics.shown(MODEL)
    assert (shown["inference_count"], shown["execution_count"], shown["last_inference"]) == (5, 2, 2000)
    assert shown["inference_stats"]["success"] == {"count": 2, "ns": 30_000_000}
    assert shown["inference_stats"]["fail"] == {"count": 1, "ns": 500_000_000}
    assert shown["inference_stats"]["queue"] == {"count": 2, "ns": 4_000_000}
    assert shown["inference_stats"]["compute_infer"] == {"count": 2, "ns": 6_000_000}


def test_times_that_nobody_wrote_down_are_0() -> None:
    statistics = InferStatistics()
    statistics.succeeded(MODEL, 1, Job("j", JobStatus.COMPLETED, completed_at=BEGIN), 0.01, 1.0)
    assert statistics.shown(MODEL)["inference_stats"]["compute_infer"] == {"count": 1, "ns": 0}


def test_a_model_that_nobody_asked_has_counts_of_0() -> None:
    assert InferStatistics().shown(MODEL)["inference_count"] == 0
