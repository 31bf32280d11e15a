"""What cannot be served is said once, clearly, and the worker ends with an exit code that tells why."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from support.onnx_models import store
from support.programs import Worker
from support.redis_servers import RedisServer

Prepare = Callable[..., Worker]


def refusal(worker: Worker, code: int = 1) -> str:
    """Give the one line that a worker leaves which ends at once."""
    assert worker.launch().wait() == code
    (line,) = worker.output.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"MODEL_NAME": "rose"}, "no model 'rose' in"),
        ({"MODEL_VERSION": "7"}, "model 'lasting' has no version 7; it has 1"),
        ({"MODEL_REPOSITORY": "/nowhere"}, "it holds no model"),
        ({"PREDICTOR": "no_such_module:make"}, "PREDICTOR='no_such_module:make' is not an importable"),
        ({"PREDICTOR": "support.predictors:missing"}, "is not an importable `module:factory`: AttributeError"),
        ({"PREDICTOR": "support.predictors:failing"}, "RuntimeError: no licence for lasting"),
    ],
)
def test_a_model_that_cannot_be_served(
    prepare: Prepare, redis_server: RedisServer, settings: dict[str, str], reason: str
) -> None:
    entry = json.loads(refusal(prepare(redis_server, **settings)))
    assert reason in entry["message"]
    assert entry["level"] == "ERROR"


def test_a_file_that_is_no_model(prepare: Prepare, redis_server: RedisServer, tmp_path: Path) -> None:
    store(tmp_path, b"this is no model", "broken")
    line = refusal(prepare(redis_server, MODEL_REPOSITORY=str(tmp_path), MODEL_NAME="broken"))
    assert "The file is damaged or is no ONNX model." in json.loads(line)["message"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"LEASE_SECONDS": "soon"}, "LEASE_SECONDS='soon'"),
        ({"RUNNERS": "-1"}, "RUNNERS='-1'"),
        ({"WORKER_NAME": "a:b"}, "a worker's name may hold no ':'"),
        ({"QUEUE_NAME": "job:1"}, "queue name 'job:1' is not usable"),
        ({"REDIS_URL": "http://localhost"}, "scheme 'http' is unknown"),
    ],
)
def test_settings_that_are_wrong(
    prepare: Prepare, redis_server: RedisServer, settings: dict[str, str], reason: str
) -> None:
    assert reason in refusal(prepare(redis_server, **settings), code=2)


def test_a_metrics_port_that_is_taken(prepare: Prepare, redis_server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(prepare(redis_server, METRICS_PORT=str(port)))
    assert f"METRICS_PORT={port}" in json.loads(line)["message"]
