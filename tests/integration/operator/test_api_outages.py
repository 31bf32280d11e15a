"""An API server that is away for a while: the operator waits for it, and goes on where it was."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from inferqueue_core.queue import RedisJobQueue
from support.api_servers import Namespace
from support.jobs import submit_jobs
from support.operators import Operator
from support.redis_servers import RedisServer
from support.waiting import wait_until


class Line:
    """A line to a TCP port that can be cut, with all that goes over it, and mended."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._lock = threading.Lock()
        self.whole = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        with self._lock:
            self.whole = False
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._ends.clear()

    def mend(self) -> None:
        self.whole = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                with self._lock:
                    if not self.whole:
                        near.close()
                        continue
                    far = socket.create_connection(self._target)
                    self._ends += (near, far)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(1 << 16):
                sink.sendall(part)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(namespace: Namespace) -> Iterator[Line]:
    server = urlsplit(namespace.server.url)
    with Line((str(server.hostname), int(server.port or 0))) as line:
        yield line


@pytest.fixture
def operator(
    namespace: Namespace,
    line: Line,
    start_operator: Callable[..., Operator],
    redis_server: RedisServer,
    tmp_path: Path,
) -> Operator:
    folder = tmp_path / "over-the-line"
    folder.mkdir()
    path = namespace.server.kubeconfig(folder, "operator")
    config = yaml.safe_load(path.read_text())
    scheme = urlsplit(namespace.server.url).scheme
    config["clusters"][0]["cluster"]["server"] = f"{scheme}://127.0.0.1:{line.port}"
    path.write_text(yaml.safe_dump(config))
    return start_operator(redis_server.url, KUBECONFIG=str(path))


def test_the_operator_goes_on_when_the_api_server_is_back(
    namespace: Namespace, line: Line, operator: Operator, queue: RedisJobQueue
) -> None:
    namespace.create_deployment()
    namespace.create_queue(objective={"backlogPerReplica": 1}, maxReplicas=5)
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    line.cut()
    submit_jobs(queue, 3)
    namespace.create_deployment("second")
    namespace.create_queue("late", target="second", queue="late", minReplicas=1)
    wait_until(lambda: operator.line("status not published"), what="it notices")
    assert httpx.get(f"{operator.health_url}/healthz").json() == {"status": "ok"}
    assert namespace.replicas() == 0
    line.mend()
    wait_until(lambda: namespace.replicas() == 3, what="three replicas")
    wait_until(lambda: namespace.replicas("second") == 1, what="what was made meanwhile is served")
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    assert operator.output.count('"status not published"') <= 2
