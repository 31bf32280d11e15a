"""The folder in which `inferqueue up` keeps its Redis, its logs, and the lock that makes it the only one there."""

import fcntl
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from inferqueue.up.errors import StartError

_LONGEST_SOCKET_PATH = 100  # bytes; the system's own limit is 107 on Linux and 103 on macOS
_LEFTOVERS_SECONDS = 20.0


class DataDir:
    """A data directory; it is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.shown = path
        self.logs = self.path / "logs"
        self.redis = self.path / "redis"
        self._lock_file = self.path / "lock"
        self._notes = self.path / "up.json"
        self._socket_folder: Path | None = None
        self._descriptor: int | None = None
        self._is_taken = False

    @property
    def lock(self) -> int:
        """The descriptor that holds the lock; a process that inherits it keeps the folder taken until it ends."""
        assert self._descriptor is not None
        return self._descriptor

    def take(self) -> None:
        """Make the folder and take its lock; raise StartError while another `inferqueue up` has it."""
        try:
            for folder in (self.logs, self.redis):
                folder.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            (self.path / ".gitignore").write_text("*\n")
            self._descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(
                f"cannot write to {error.filename}: {error.strerror}; name another folder with --data-dir"
            ) from None
        deadline = time.monotonic() + _LEFTOVERS_SECONDS
        while not self._try_lock():
            holder = self._lock_file.read_text().strip()
            if _is_alive(holder):
                raise StartError(
                    f"`inferqueue up` (process {holder}) is already running on {self.shown}; "
                    "stop it first, or start this one on another folder with --data-dir"
                )
            if time.monotonic() >= deadline:
                raise StartError(
                    f"programs of an earlier `inferqueue up` still run on {self.shown}; end them, or name another "
                    "folder with --data-dir"
                )
            time.sleep(0.1)
        self._is_taken = True
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def socket(self) -> Path:
        """Name the socket of Redis: in the folder, or in a temporary one where that path is too long for a socket."""
        path = self.path / "redis.sock"
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
            if self._socket_folder is None:
                self._socket_folder = Path(tempfile.mkdtemp(prefix="inferqueue-"))
            path = self._socket_folder / "redis.sock"
        return path

    def note_redis(self, url: str) -> None:
        """Write down where Redis is, for the commands that read it."""
        self._notes.write_text(json.dumps({"redis_url": url}))

    def release(self) -> None:
        """Give the folder back; what was queued stays in it."""
        if self._is_taken:
            self._notes.unlink(missing_ok=True)
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def running_redis(data_dir: Path) -> str | None:
    """Return the address of the Redis that `inferqueue up` runs on this folder; None when it runs none."""
    try:
        url = json.loads((data_dir / "up.json").read_text())["redis_url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(url)


def _is_alive(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
