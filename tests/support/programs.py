"""Our programs as processes: started with settings from the environment, ready when their log says so, ended by id."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.waiting import wait_until

# Settings of ours that the environment of the tests must not pass on.
_OURS = (
    *("REDIS_", "QUEUE_", "API_KEYS", "MODEL_", "JOB_TTL", "LEASE_"),
    *("MAX_", "PREDICTION_", "PORT", "HOST", "METRICS_", "HEADER_", "BODY_", "KEEP_ALIVE_", "CORS_"),
)


class Program:
    """A Python module run as a process; `ready` is the log message after which it works."""

    def __init__(self, module: str, ready: str, environment: Mapping[str, str], *arguments: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._environment = inherited | {"ORT_DISABLE_TELEMETRY": "1", "METRICS_PORT": "0"} | dict(environment)
        self._command = (sys.executable, "-m", module, *arguments)
        self._ready = ready
        descriptor, name = tempfile.mkstemp(prefix="iq-", suffix=".log")
        os.close(descriptor)
        self.log_file = Path(name)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def launch(self) -> Self:
        """Start the process without waiting for it to be ready."""
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        return self

    def start(self) -> Self:
        """Start the process and return when it is ready."""
        self.launch()
        wait_until(self._is_ready, what=f"log line {self._ready!r} of {' '.join(self._command)}")
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{' '.join(self._command)} ended at once:\n{self.output[-4000:]}")
        return self.line(self._ready) is not None

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return self.log_file.read_text(errors="replace")

    def line(self, message: str) -> dict[str, Any] | None:
        """Give the first JSON log line with this message."""
        for text in self.output.splitlines():
            if text.startswith("{") and text.endswith("}"):
                entry: dict[str, Any] = json.loads(text)
                if entry.get("message") == message:
                    return entry
        return None

    def told(self, field: str) -> str:
        """Give a field of the line that said that it is ready."""
        entry = self.line(self._ready)
        assert entry is not None
        return str(entry[field])

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """Wait for its end and give its exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    def terminate(self, timeout: float = 30) -> int:
        """Ask it to end with SIGTERM and give its exit code."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.kill()
        self.log_file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Proxy(Program):
    """A proxy on a free port of 127.0.0.1; further settings by name, such as QUEUE_MAX_LENGTH="10"."""

    def __init__(self, redis_url: str, **settings: str) -> None:
        environment = {"REDIS_URL": redis_url, "HOST": "127.0.0.1", "PORT": "0"} | settings
        super().__init__("inferqueue_proxy", "listening", environment)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`."""
        return self.told("address")

    @property
    def metrics_url(self) -> str:
        return self.told("metrics_address")


class Worker(Program):
    """A worker on the repository's models; further settings by name, such as MODEL_NAME="iris"."""

    module = "inferqueue_worker"

    def __init__(self, redis_url: str, **settings: str) -> None:
        models = Path(__file__).parents[2] / "models"
        environment = {"REDIS_URL": redis_url, "HOST": "127.0.0.1", "MODEL_REPOSITORY": str(models)} | settings
        super().__init__(self.module, "ready", environment)

    @property
    def metrics_url(self) -> str:
        return self.told("metrics_address")


class HastyWorker(Worker):
    """A worker whose pauses are shorter than those of the program."""

    module = "support.hasty_worker"
