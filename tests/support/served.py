"""Models loaded as the worker loads them, and jobs for them that need no queue."""

from pathlib import Path
from typing import Any

import orjson
from onnx import ModelProto

from inferqueue_core.jobs import ClaimedJob
from inferqueue_worker.batching import DecodedJob
from inferqueue_worker.decoding import decode_job
from inferqueue_worker.execution import BatchExecutor
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.results import ResultWriter
from inferqueue_worker.served_model import ServedModel, load_model
from support.onnx_models import store


def load(repository: Path, model: ModelProto | bytes, config: str = "") -> ServedModel:
    """Load a model from a repository."""
    return load_model(store(repository, model, config=config), None, 1)


def claimed(data: Any, number: int = 1, attempt: int = 1) -> ClaimedJob:
    """Give a claimed job with `data` as JSON, or as it is when it is bytes."""
    return ClaimedJob(
        f"job-{number}", f"{attempt}:0-nonce:worker-1", data if isinstance(data, bytes) else orjson.dumps(data)
    )


def decoded(model: ServedModel, *data: Any) -> tuple[DecodedJob, ...]:
    """Decode one job for each of `data`."""
    info = model.info("predict_queue")
    return tuple(decode_job(claimed(value, number), info) for number, value in enumerate(data))


def executor(model: ServedModel, held: HeldJobs | None = None, timeout: float = 60) -> BatchExecutor:
    """Make an executor whose retries draw no jitter."""
    writer = ResultWriter(model.info("predict_queue"))
    return BatchExecutor(model, writer, held or HeldJobs(), WorkerMetrics(), timeout, lambda: 0.0, model.pace())
