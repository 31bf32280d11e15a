"""The worker's settings."""

import os
import socket
from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from inferqueue_core.queue_settings import QueueSettings
from inferqueue_worker.listening import DEFAULT_HOST, DEFAULT_PORT
from inferqueue_worker.result_sizes import DEFAULT_BYTES, MOST_REDIS_BYTES


def _default_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _check_name(name: str) -> str:
    if ":" in name or not name:
        raise ValueError("a worker's name may hold no ':' and not be empty")
    return name


def _check_model_name(name: str) -> str:
    if not name or "/" in name or name in (".", ".."):
        raise ValueError("a model's name is that of its folder in MODEL_REPOSITORY, without any '/'")
    return name


def _check_version(version: str) -> str:
    if version and not version.isdecimal():
        raise ValueError("a model's version is a whole number, the name of its folder")
    return version


def _check_result_bytes(size: int) -> int:
    if size > MOST_REDIS_BYTES:
        raise ValueError(f"Redis takes no value above {MOST_REDIS_BYTES:,} bytes (its proto-max-bulk-len)")
    return size


class WorkerSettings(QueueSettings, frozen=True, kw_only=True):
    """Which model this worker serves, and how."""

    model_repository: Annotated[Path, Meta(description="folder of models: <model>/<version>/model.onnx")] = Path(
        "models"
    )
    model_name: Annotated[str, Meta(description="the model to serve"), _check_model_name] = "iris"
    model_version: Annotated[str, Meta(description="its version; the highest one when empty"), _check_version] = ""
    predictor: Annotated[
        str, Meta(description="module:factory of a Predictor of your own, instead of ONNX Runtime")
    ] = ""
    worker_name: Annotated[str, Meta(description="name in heartbeats; the pod's name on Kubernetes"), _check_name] = (
        field(default_factory=_default_name)
    )
    worker_image: Annotated[
        str, Meta(description="image and tag, under which service rate and cold start are remembered")
    ] = ""
    runners: Annotated[int, Meta(ge=0, le=256, description="threads that claim and run; 0: as many as CPUs")] = 0
    intra_op_threads: Annotated[int, Meta(ge=1, le=256, description="threads of one run of the model")] = 1
    trial_seconds: Annotated[
        float, Meta(gt=0, le=86_400, description="seconds that the trial of the model at load may take")
    ] = 20
    max_batch_bytes: Annotated[int, Meta(ge=1, description="data taken at once, in bytes")] = 16_777_216
    max_result_bytes: Annotated[
        int, Meta(ge=1, description="largest result of a job, in bytes"), _check_result_bytes
    ] = DEFAULT_BYTES
    grace_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="seconds from SIGTERM until unfinished jobs go back")
    ] = 25
    metrics_port: Annotated[
        int, Meta(ge=0, le=65535, description="port of /metrics, /livez and /readyz; 0 takes a free one")
    ] = DEFAULT_PORT
    host: Annotated[str, Meta(description="address that this port listens on")] = DEFAULT_HOST
