"""Counts and times of infer requests by model, as Triton's statistics extension shows them.

They are this proxy's own, since its start. What it cannot know is 0: how long a worker reads inputs and writes outputs.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inferqueue_core.jobs import Job
from inferqueue_core.models import ModelInfo


@dataclass(slots=True)
class Duration:
    """How often something was done, and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += round(seconds * 1e9)

    def shown(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class _Model:
    """What became of the requests for one version of a model; `rows` are those of successful ones."""

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    run: Duration = field(default_factory=Duration)
    rows: int = 0
    last_ms: int = 0


class InferStatistics:
    """Counts infer requests, and shows the counts."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], _Model] = {}

    def succeeded(self, model: ModelInfo, rows: int, job: Job, seconds: float, now_ms: int) -> None:
        """Count a request that was answered `seconds` after it came, `now_ms` in Unix time."""
        entry = self._entry(model)
        entry.success.add(seconds)
        entry.queue.add(_seconds(job.created_at, job.started_at))
        entry.run.add(_seconds(job.started_at, job.completed_at))
        entry.rows += rows
        entry.last_ms = now_ms

    def failed(self, model: ModelInfo, seconds: float) -> None:
        """Count a request that was refused, or whose job failed or did not end in time."""
        self._entry(model).fail.add(seconds)

    def shown(self, model: ModelInfo) -> dict[str, Any]:
        """Give the entry of one version of a model.

        Which jobs ran together only workers know (`inferqueue_worker_batch_rows`): each counts as one execution.
        """
        entry = self._entry(model)
        unknown = Duration(entry.success.count)
        durations = {
            "success": entry.success,
            "fail": entry.fail,
            "queue": entry.queue,
            "compute_input": unknown,
            "compute_infer": entry.run,
            "compute_output": unknown,
            "cache_hit": Duration(),
            "cache_miss": Duration(),
        }
        return {
            "name": model.name,
            "version": model.version,
            "last_inference": entry.last_ms,
            "inference_count": entry.rows,
            "execution_count": entry.success.count,
            "inference_stats": {name: duration.shown() for name, duration in durations.items()},
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


def _seconds(begin: datetime | None, end: datetime | None) -> float:
    return max(0.0, (end - begin).total_seconds()) if begin is not None and end is not None else 0.0
