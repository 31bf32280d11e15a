"""The probes and the metrics, over HTTP."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from inferqueue_worker.probes import Probes
from inferqueue_worker.web import web_server

Get = Callable[[str], tuple[int, str]]


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def get(probes: Probes) -> Iterator[Get]:
    """Ask a server for a path; gives the status and the text."""
    registry = CollectorRegistry()
    Counter("runs", "Runs.", registry=registry).inc(3)
    server = web_server(socket.create_server(("127.0.0.1", 0)), registry, probes)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    yield ask
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_worker_that_starts_is_alive_and_not_ready(get: Get) -> None:
    assert get("/livez") == (200, "ok\n")
    assert get("/readyz") == (503, "starting\n")


def test_a_worker_that_claims_is_ready(get: Get, probes: Probes) -> None:
    probes.ready.set()
    assert get("/readyz") == (200, "ok\n")


def test_what_only_a_restart_mends_is_named(get: Get, probes: Probes) -> None:
    probes.ailment = lambda: "the heartbeat has stalled"
    assert get("/livez") == (503, "the heartbeat has stalled\n")


def test_metrics(get: Get) -> None:
    status, text = get("/metrics")
    assert status == 200
    assert "runs_total 3.0" in text


def test_another_path_names_those_that_there_are(get: Get) -> None:
    assert get("/health") == (404, "nothing at /health; there are /livez, /readyz and /metrics\n")
