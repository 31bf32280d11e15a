"""Counts and times of infer requests by model, as Triton's statistics extension shows them.

They are this proxy's own, since its start. What it cannot know is 0: how long a worker reads inputs and writes outputs.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from inferqueue_core.jobs import Job
from inferqueue_core.models import ModelInfo


@dataclass(slots=True)
class _Model:
    """What became of the requests for one version of a model, in counts and in times altogether.

    `rows` are those of requests that succeeded, `seconds` their whole time, `last` the Unix time of the last one.
    """

    succeeded: int = 0
    seconds: float = 0
    queued: timedelta = timedelta()
    run: timedelta = timedelta()
    rows: int = 0
    last: float = 0
    failed: int = 0
    failed_seconds: float = 0


class InferStatistics:
    """Counts infer requests, and shows the counts."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], _Model] = {}

    def succeeded(self, model: ModelInfo, rows: int, job: Job, seconds: float, now: float) -> None:
        """Count a request that was answered `seconds` after it came, `now` in Unix time."""
        entry = self._entry(model)
        entry.succeeded += 1
        entry.seconds += seconds
        entry.rows += rows
        entry.last = now
        if job.created_at is not None and job.started_at is not None and job.completed_at is not None:
            entry.queued += job.started_at - job.created_at
            entry.run += job.completed_at - job.started_at

    def failed(self, model: ModelInfo, seconds: float) -> None:
        """Count a request that was refused, or whose job failed or did not end in time."""
        entry = self._entry(model)
        entry.failed += 1
        entry.failed_seconds += seconds

    def shown(self, model: ModelInfo) -> dict[str, Any]:
        """Return the entry of one version of a model.

        Which jobs ran together only workers know (`inferqueue_worker_batch_rows`): each counts as one execution.
        """
        entry = self._entry(model)
        count = entry.succeeded
        return {
            "name": model.name,
            "version": model.version,
            "last_inference": int(entry.last * 1000),
            "inference_count": entry.rows,
            "execution_count": count,
            "inference_stats": {
                "success": _shown(count, entry.seconds),
                "fail": _shown(entry.failed, entry.failed_seconds),
                "queue": _shown(count, entry.queued.total_seconds()),
                "compute_input": _shown(count),
                "compute_infer": _shown(count, entry.run.total_seconds()),
                "compute_output": _shown(count),
                "cache_hit": _shown(0),
                "cache_miss": _shown(0),
            },
            "response_stats": {},
            "batch_stats": [],
            "memory_usage": [],
        }

    def _entry(self, model: ModelInfo) -> _Model:
        key = (model.name, model.version)
        entry = self._models.get(key)
        if entry is None:
            entry = self._models[key] = _Model()
        return entry


def _shown(count: int, seconds: float = 0) -> dict[str, int]:
    return {"count": count, "ns": max(0, round(seconds * 1e9))}
