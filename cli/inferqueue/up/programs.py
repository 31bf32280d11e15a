"""How each program is started: its command, its settings, and the line that says that it is ready."""

import os
import socket
import sys

import redis

from inferqueue.up.autoscaler import Autoscaler
from inferqueue.up.child import Child
from inferqueue.up.data_dir import DataDir
from inferqueue.up.errors import StartError
from inferqueue.up.guard import Guard
from inferqueue.up.logs import LogLine
from inferqueue.up.redis_server import find_server, server_command
from inferqueue.up.settings import UpSettings, own_redis
from inferqueue_core.connection import connect
from inferqueue_core.errors import QueueError
from inferqueue_core.models import ModelInfo
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings

HOST = "127.0.0.1"


class Programs:
    """Makes the children of one `up`; nothing runs before a child's `start`."""

    def __init__(self, settings: UpSettings, foreign: RedisSettings | None, data_dir: DataDir, guard: Guard) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._guard = guard
        self.use_foreign_redis = foreign is not None
        self.redis_settings = foreign or own_redis(f"unix://{data_dir.socket()}")
        self._redis_client = connect(self.redis_settings)

    def redis(self) -> Child | None:
        """Return Redis of `up`'s own; None when another one is used."""
        if self.use_foreign_redis:
            return None
        command = server_command(find_server(), self._data_dir.redis, self._data_dir.socket())
        return Child(
            "Redis",
            command,
            os.environ,
            self._data_dir.logs / "redis.log",
            guard=self._guard,
            stage=1,
            is_ready=lambda _: True,
            inherits=(self._data_dir.lock,),
        )

    def redis_answers(self) -> bool:
        """Ask whether Redis has read its data and answers."""
        try:
            return bool(self._redis_client.ping())
        except (redis.RedisError, OSError):
            return False

    def check_redis(self) -> None:
        """Raise StartError when this Redis cannot hold a queue, or does not answer."""
        try:
            self._queue().check()
        except (QueueError, redis.RedisError) as error:
            raise StartError(f"Redis at {self.redis_settings.safe_url}: {error}") from None

    def redis_name(self) -> str:
        """Say which Redis it is, for a person."""
        if self.use_foreign_redis:
            return f"Redis at {self.redis_settings.safe_url}"
        info = self._redis_client.info("server")
        assert isinstance(info, dict)
        name, version = (
            ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
        )
        return f"{name} {version}, data in {self._data_dir.shown}"

    def model(self) -> ModelInfo | None:
        """Read what the workers have published of their model."""
        published = self._queue().models().values()
        versions = [model for model in published if model.name == self._settings.model_name]
        return max(versions, key=lambda model: model.version_order, default=None)

    def proxy(self) -> Child:
        """Return the proxy."""
        environment = self._environment() | {"HOST": HOST, "PORT": str(self._settings.port)}
        return self._python("proxy", "inferqueue_proxy", environment, "listening")

    def worker(self, number: int) -> Child:
        """Return the `number`-th worker."""
        environment = self._environment() | {
            "HOST": HOST,
            "MODEL_REPOSITORY": str(self._settings.repository()),
            "MODEL_NAME": self._settings.model_name,
            "WORKER_NAME": f"{socket.gethostname()}-{os.getpid()}-{number}",
        }
        environment.setdefault("RUNNERS", str(max(1, _cpus() // max(1, self._settings.most_workers))))
        return self._python(f"worker {number}", "inferqueue_worker", environment, "ready")

    def autoscaler(self) -> Autoscaler | None:
        """Return what decides how many workers there should be; None for a fixed number."""
        objective = self._settings.objective
        return None if objective is None else Autoscaler(self._queue(), objective, self._data_dir.path / "learned.json")

    def _queue(self) -> RedisJobQueue:
        prefix = self.redis_settings.key_prefix
        return RedisJobQueue(self._redis_client, self._settings.queue_name, QueuePolicy(), prefix=prefix)

    def _environment(self) -> dict[str, str]:
        inherited = dict(os.environ)
        if not self.use_foreign_redis:
            inherited = {name: value for name, value in inherited.items() if not name.startswith("REDIS_")}
        if self.redis_settings.redis_url is not None:
            inherited["REDIS_URL"] = self.redis_settings.redis_url
        return inherited | {"METRICS_PORT": "0", "ORT_DISABLE_TELEMETRY": "1"}

    def _python(self, name: str, module: str, environment: dict[str, str], ready: str) -> Child:
        def is_ready(line: LogLine) -> bool:
            return line.message == ready and bool(line.fields)

        log = self._data_dir.logs / f"{name.replace(' ', '-')}.log"
        return Child(name, [sys.executable, "-m", module], environment, log, guard=self._guard, is_ready=is_ready)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
