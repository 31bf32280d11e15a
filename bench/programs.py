"""Processes of a benchmark: each is ended by its id when its block is left, and its output is kept until then."""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from inferqueue.up.redis_server import find_server
from inferqueue_core.keys import models_key

BENCH = Path(__file__).parent
MODELS = BENCH.parent / "models"
_READY_SECONDS = 60.0
_STOP_SECONDS = 30.0


class BenchError(Exception):
    """A measure that cannot be taken; the text says why."""


def wait_until(predicate: Callable[[], bool], seconds: float, what: str, pause: float = 0.01) -> None:
    """Return when `predicate` holds; raise BenchError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Give an environment without settings of the caller's, which would change what is measured."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return inherited | {"ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(BENCH)}


class Program:
    """A process that runs while its block does."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self._command = [str(part) for part in command]
        self._environment = clean_environment() | dict(environment or {})
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # A file and not a pipe, which somebody would have to empty.
        self._log = self._stack.enter_context(tempfile.TemporaryFile())
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self.process
        try:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it has started and not ended
            self._stack.close()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the program is started by `with`"
        return self._process

    @property
    def output(self) -> str:
        """All that it has written so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def check(self) -> None:
        """Raise BenchError when it has ended by itself."""
        if self.process.poll() is not None:
            raise BenchError(f"{' '.join(self._command)} ended at once: {_last_line(self.output)}")

    def told(self, message: str) -> dict[str, str]:
        """Wait for a JSON log line with this message and give its fields."""
        found: dict[str, str] = {}

        def look() -> bool:
            self.check()
            for line in self.output.splitlines():
                entry = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
                if entry.get("message") == message:
                    found.update({name: str(value) for name, value in entry.items()})
                    return True
            return False

        wait_until(look, _READY_SECONDS, f"{message!r} from {' '.join(self._command)}")
        return found

    def listens(self, port: int) -> None:
        """Wait until it takes connections on `port`."""

        def look() -> bool:
            self.check()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(look, _READY_SECONDS, f"port {port} of {' '.join(self._command)}")

    def memory(self) -> float:
        """Give the most memory that was ever resident (VmHWM), in MB of 10^6 bytes; NaN on systems without /proc."""
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text()
        except FileNotFoundError:
            return math.nan
        lines = dict(line.split(":", 1) for line in text.splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6


class RedisServer(Program):
    """A Redis of its own on 127.0.0.1, AOF everysec; the AOF is rewritten by `empty` and never during a measure."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = Path(tempfile.mkdtemp(prefix="inferqueue-bench-"))
        self.client = redis.Redis.from_url(self.url, protocol=2)
        options = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--auto-aof-rewrite-percentage": "0",
            "--maxmemory-policy": "noeviction",
        }
        super().__init__([find_server(), *(part for option in options.items() for part in option)])

    def __enter__(self) -> Self:
        super().__enter__()
        self.listens(self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        super().__exit__(kind, error, trace)
        shutil.rmtree(self.folder, ignore_errors=True)

    def empty(self) -> None:
        """Delete everything but the published models, and begin a new AOF."""
        models: Any = self.client.hgetall(models_key(""))
        self.client.flushall()
        if models:
            self.client.hset(models_key(""), mapping=models)
        self.client.bgrewriteaof()
        wait_until(lambda: not self._rewrites(), 30, "the end of the AOF's rewriting")

    def _rewrites(self) -> bool:
        info = self.client.info("persistence")
        return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


def proxy(server: RedisServer, python: str | Path = sys.executable, **settings: str) -> Program:
    """Make our proxy, run by `python`; it tells its `address` when it is `listening`."""
    environment = {"REDIS_URL": server.url, "HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0"} | settings
    return Program([python, "-m", "inferqueue_proxy"], environment)


def worker(server: RedisServer, *arguments: str, python: str | Path = sys.executable, **settings: str) -> Program:
    """Make our worker, run by `python`, on the Iris model unless settings name another one."""
    environment = {
        "REDIS_URL": server.url,
        "HOST": "127.0.0.1",
        "METRICS_PORT": "0",
        "MODEL_REPOSITORY": str(MODELS),
    }
    return Program([python, "-m", "inferqueue_worker", *arguments], environment | settings)


def run_to_end(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, seconds: float = 120
) -> str:
    """Run a program of the benchmark to its end and give what it wrote last; raise BenchError when it fails."""
    with Program(command, environment) as program:
        try:
            code = program.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{command} did not end within {seconds:g} s") from None
        if code != 0:
            raise BenchError(f"{Path(command[1]).name} failed: {_last_line(program.output)}")
        return _last_line(program.output)


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or ["it wrote nothing"])[-1]
