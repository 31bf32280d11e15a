"""Clients that begin and do not end: each is let go in time, and those who ask in one piece notice nothing of them."""

import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from support.good_clients import NEGATIONS, GoodClients, store_negation
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nX-A: "
HALF_BODY = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"


@pytest.fixture(scope="module")
def hasty() -> Iterator[Proxy]:
    """A proxy with little patience."""
    with (
        RedisServer() as redis,
        Proxy(redis.url, HEADER_TIMEOUT="1", BODY_TIMEOUT="1", KEEP_ALIVE_TIMEOUT="2") as proxy,
    ):
        yield proxy


def _connect(proxy: Proxy, sent: bytes = b"") -> socket.socket:
    address = urlsplit(proxy.url)
    line = socket.create_connection((address.hostname, address.port), timeout=30)
    line.sendall(sent)
    return line


def _all(line: socket.socket) -> bytes:
    with line:
        return b"".join(iter(lambda: line.recv(65536), b""))


def _let_go(proxy: Proxy, reason: str) -> float:
    name = f'inferqueue_http_connections_let_go_total{{reason="{reason}"}} '
    lines = httpx.get(proxy.metrics_url).text.splitlines()
    return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0)


@pytest.mark.parametrize("sent", [HEAD, b"G", b"\r\n\r\n"])
def test_half_a_head_is_answered_and_closed(hasty: Proxy, sent: bytes) -> None:
    before = _let_go(hasty, "head")
    answer = _all(_connect(hasty, sent))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"HEADER_TIMEOUT" in answer
    assert _let_go(hasty, "head") == before + 1


def test_half_a_body_is_answered_and_closed(hasty: Proxy) -> None:
    before = _let_go(hasty, "body")
    answer = _all(_connect(hasty, HALF_BODY))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"BODY_TIMEOUT" in answer
    assert _let_go(hasty, "body") == before + 1


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n\r\n"])
def test_who_says_nothing_more_is_closed_without_an_answer(hasty: Proxy, sent: bytes) -> None:
    assert b" 408 " not in _all(_connect(hasty, sent))


@pytest.mark.parametrize("begin", [HEAD, HALF_BODY])
def test_a_byte_now_and_then_buys_no_time(hasty: Proxy, begin: bytes) -> None:
    line = _connect(hasty, begin)
    line.settimeout(0.2)

    def is_answered() -> bool:
        line.sendall(b"a")
        try:
            return line.recv(100).startswith(b"HTTP/1.1 408")
        except TimeoutError:
            return False

    with line:
        wait_until(is_answered, timeout=20, what="an end to a body of a byte each 0.2 s")


def test_a_body_that_is_slow_and_steady_is_taken(hasty: Proxy) -> None:
    body = b'{"data": [[1]]' + b" " * 9_985 + b"}"
    line = _connect(hasty, b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10000\r\n\r\n")
    began = time.monotonic()
    for at in range(0, len(body), 400):
        line.sendall(body[at : at + 400])
        time.sleep(0.1)  # the rate of a slow line, which is what is tried
    assert time.monotonic() - began > 2
    assert _all(line).startswith(b"HTTP/1.1 202 ")


def test_who_does_not_take_his_answer_is_cut_off(hasty: Proxy) -> None:
    before = _let_go(hasty, "answer")
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    address = urlsplit(hasty.url)
    line.connect((address.hostname, address.port))
    with line:
        # Answers of 30 kB each, until they fill what the two kernels keep for the connection.
        line.setblocking(False)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"

        def ask() -> bool:
            with suppress(OSError):
                line.send(request * 100)
            return _let_go(hasty, "answer") > before

        wait_until(ask, timeout=30, every=0.1, what="a reader that does not read is let go")


def test_connections_between_requests_are_kept_for_a_while_and_then_closed(hasty: Proxy) -> None:
    line = _connect(hasty, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"connection: close" not in line.recv(65536)
    line.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert _all(line) == b""


# ---- more clients than may be connected --------------------------------------------------------------------


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Proxy]:
    """A proxy with a worker, which takes 40 connections."""
    store_negation(tmp_path)
    served = {"MODEL_REPOSITORY": str(tmp_path), "MODEL_NAME": "neg"}
    with RedisServer() as redis, Worker(redis.url, **served), Proxy(redis.url, MAX_CONNECTIONS="40") as proxy:
        wait_until(lambda: httpx.get(f"{proxy.url}/v2/models/neg").is_success, what="the model in the catalog")
        yield proxy


@pytest.mark.parametrize("sent", [b"", HEAD, HALF_BODY], ids=["nothing", "half a head", "half a body"])
def test_hundreds_of_half_requests_keep_nobody_out(crowded: Proxy, sent: bytes) -> None:
    with ExitStack() as held, GoodClients(crowded.url, NEGATIONS).at_work() as good:
        good.await_right(20)
        for _ in range(300):
            held.enter_context(_connect(crowded, sent))
        assert httpx.get(f"{crowded.url}/livez", timeout=10).status_code == 200
        wait_until(lambda: _let_go(crowded, "limit") >= 250, what="the connections beyond the limit are let go")
        good.await_right(50)
    wait_until(lambda: crowded.line("clients were let go"), what="a log line")


def test_beyond_the_limit_of_requests_under_way_only_probes_are_answered(own_redis: RedisServer) -> None:
    """Nobody works on the queue, so whoever waits for a job goes on waiting."""
    wait = b'POST /predict HTTP/1.1\r\nHost: x\r\nPrefer: wait=60\r\nContent-Length: 14\r\n\r\n{"data":[[1]]}'
    with Proxy(own_redis.url, MAX_CONNECTIONS="16") as proxy, ExitStack() as held:
        lines = [held.enter_context(_connect(proxy, wait)) for _ in range(16)]
        waiting = "inferqueue_waiting_clients 16.0"
        wait_until(lambda: waiting in httpx.get(proxy.metrics_url).text, what="16 who wait")
        for path in ("/livez", "/readyz", "/health", "/v2/health/live", "/v2/health/ready"):
            assert httpx.get(proxy.url + path).status_code == 200
        refused = httpx.get(f"{proxy.url}/queues")
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:inferqueue:problem:too-many-connections"
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Connection"] == "close"
        assert httpx.get(f"{proxy.url}/v2").json().keys() == {"error"}
        assert _let_go(proxy, "limit") == 2
        lines[0].close()
        wait_until(lambda: httpx.get(f"{proxy.url}/queues").status_code == 200, what="a place that was left")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit the files of another process")
def test_it_is_said_when_no_file_can_be_opened_any_more(hasty: Proxy) -> None:
    soft, hard = resource.prlimit(hasty.pid, resource.RLIMIT_NOFILE)
    used = max(int(file.name) for file in Path(f"/proc/{hasty.pid}/fd").iterdir())
    resource.prlimit(hasty.pid, resource.RLIMIT_NOFILE, (used + 1, hard))
    message = "no file can be opened any more, new connections are cut off; raise `ulimit -n`"

    def is_told() -> bool:
        with ExitStack() as held:
            for _ in range(used + 8):
                held.enter_context(_connect(hasty))
            return hasty.line(message) is not None

    wait_until(is_told, what="a log line")
    resource.prlimit(hasty.pid, resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(_answers(hasty), what="an answer")


def _answers(proxy: Proxy) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            return httpx.get(f"{proxy.url}/livez").is_success
        except httpx.HTTPError:
            return False

    return ask
