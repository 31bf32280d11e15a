"""The worker's settings."""

import os
import socket
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from inferqueue_core.settings import QueueSettings
from inferqueue_worker.listening import DEFAULT_HOST, DEFAULT_PORT


def _default_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


def _check_name(name: str) -> str:
    if ":" in name or not name:
        raise ValueError("a worker's name may hold no ':' and not be empty")
    return name


def _check_model_name(name: str) -> str:
    if "/" in name or name in (".", ".."):
        raise ValueError("a model's name is that of its folder in MODEL_REPOSITORY, without any '/'")
    return name


class WorkerSettings(QueueSettings):
    """Which model this worker serves, and how."""

    model_repository: Path = Field(Path("models"), description="folder of models: <model>/<version>/model.onnx")
    model_name: Annotated[str, AfterValidator(_check_model_name)] = Field(
        "iris", min_length=1, description="the model to serve"
    )
    model_version: str = Field("", pattern=r"^\d*$", description="its version; the highest one when empty")
    predictor: str = Field("", description="module:factory of a Predictor of your own, instead of ONNX Runtime")
    worker_name: Annotated[str, AfterValidator(_check_name)] = Field(
        default_factory=_default_name, description="name in heartbeats; the pod's name on Kubernetes"
    )
    worker_image: str = Field("", description="image and tag, under which service rate and cold start are remembered")
    runners: int = Field(
        0,
        ge=0,
        le=256,
        description="threads that claim and run; 0: as many as CPUs",
    )
    intra_op_threads: int = Field(1, ge=1, le=256, description="threads of one run of the model")
    max_batch_bytes: int = Field(16_777_216, ge=1, description="data taken at once, in bytes")
    grace_seconds: float = Field(25, ge=0, le=3600, description="seconds from SIGTERM until unfinished jobs go back")
    metrics_port: int = Field(
        DEFAULT_PORT, ge=0, le=65535, description="port of /metrics, /livez and /readyz; 0 takes a free one"
    )
    host: str = Field(DEFAULT_HOST, description="address that this port listens on")
