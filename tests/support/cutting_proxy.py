"""A proxy before Redis that carries a request there and cuts the connection before its reply comes back."""

import contextlib
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class CuttingProxy:
    """Listens on a Unix socket of its own; `cut_next` names a part of the next request whose reply is to be lost."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._folder = tempfile.TemporaryDirectory(prefix="iq-")
        self.socket = Path(self._folder.name) / "proxy.sock"
        self.url = f"unix://{self.socket}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._lock = threading.Lock()
        self._cut: bytes | None = None
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.cuts = 0

    def cut_next(self, mark: bytes) -> None:
        """Cut the connection after the next request that holds `mark` has been answered."""
        with self._lock:
            self._cut = mark

    def __enter__(self) -> Self:
        self._listener.bind(str(self.socket))
        self._listener.listen()
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(5)
        self._folder.cleanup()

    def _run(self, work: "threading.Thread | object", *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self._target))
                self._open += (near, far)
                self._run(self._carry, near, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        """Carry one request and its reply at a time: redis-py sends no request before it has read the last reply."""
        with contextlib.suppress(OSError):
            while request := near.recv(1 << 20):
                far.sendall(request)
                reply = far.recv(1 << 20)
                if self._is_to_be_cut(request):
                    break
                near.sendall(reply)
        for end in (near, far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_to_be_cut(self, request: bytes) -> bool:
        with self._lock:
            if self._cut is None or self._cut not in request:
                return False
            self._cut = None
            self.cuts += 1
            return True
