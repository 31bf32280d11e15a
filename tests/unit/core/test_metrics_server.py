"""Probes and scrapes get through, whatever others do on the same port."""

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from inferqueue_core import metrics_server
from inferqueue_core.metrics_server import MOST_CLIENTS, MetricsServer
from support.waiting import wait_until


def _app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"x" * 50_000_000 if environ["PATH_INFO"] == "/large" else b"ok"]


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    served = MetricsServer(socket.create_server(("127.0.0.1", 0)), _app)
    thread = threading.Thread(target=served.serve_forever, args=(0.05,))
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def _ask(server: MetricsServer) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/livez", timeout=30) as answer:
        text: bytes = answer.read()
        return text


def _connect(server: MetricsServer, sent: bytes) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", server.server_port), timeout=30)
    line.sendall(sent)
    return line


def test_half_requests_keep_nobody_out_and_take_no_more_threads_than_allowed(server: MetricsServer) -> None:
    before = threading.active_count()
    with ExitStack() as held:
        for _ in range(4 * MOST_CLIENTS):
            held.enter_context(_connect(server, b"GET /livez HTTP/1.1\r\nX: "))
            assert _ask(server) == b"ok"
        wait_until(lambda: threading.active_count() <= before + MOST_CLIENTS, what="the threads of those let go end")
    wait_until(lambda: threading.active_count() <= before, what="the threads of those who went end")


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nX: ", b"GET /large HTTP/1.0\r\n\r\n"])
def test_who_takes_too_long_is_let_go(server: MetricsServer, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_SECONDS", 0.2)
    before = threading.active_count()
    with _connect(server, sent):
        wait_until(lambda: threading.active_count() > before, what="its thread")
        wait_until(lambda: threading.active_count() <= before, what="its end")


def test_a_byte_now_and_then_buys_no_time(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_SECONDS", 0.2)
    with _connect(server, b"GET /livez HTTP/1.1\r\nX: ") as line:

        def is_closed() -> bool:
            try:
                line.sendall(b"a")
            except OSError:
                return True
            return False

        wait_until(is_closed, what="the end of a request of single bytes", every=0.05)
