"""One client goes to a bound of the proxy again and again; ten good ones, served beside it, notice nothing."""

import gzip
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from support.good_clients import NEGATIONS, Again, GoodClients, store_negation
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    store_negation(folder)
    return folder


@contextmanager
def _served(redis: RedisServer, repository: Path, **settings: str) -> Iterator[Proxy]:
    """Yield a proxy with a worker."""
    worker = Worker(redis.url, MODEL_REPOSITORY=str(repository), MODEL_NAME="neg")
    with worker, Proxy(redis.url, **settings) as proxy:
        wait_until(lambda: httpx.get(f"{proxy.url}/v2/models/neg").is_success, what="the model in the catalog")
        yield proxy


def test_data_that_redis_refuses_keeps_nobody_from_submitting(repository: Path) -> None:
    body = orjson.dumps({"model": "neg", "data": [[0.5] * 4] * 100_000})
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer("--proto-max-bulk-len", "1mb"))  # the least that can be asked for
        proxy = stack.enter_context(_served(redis, repository))
        http = stack.enter_context(httpx.Client(base_url=proxy.url, timeout=60, headers=JSON))
        good = stack.enter_context(GoodClients(proxy.url, NEGATIONS).at_work())
        hostile = stack.enter_context(Again(lambda: http.post("/predict", content=body)).at_work())
        hostile.await_outcomes(3)
        good.await_right(50)
    for refused in hostile.outcomes:
        assert refused.status_code == 413
        assert "has refused a call of 1,800," in refused.json()["detail"]
        assert "proto-max-bulk-len" in refused.json()["detail"]


# ---- bodies ------------------------------------------------------------------------------------------------

MOST_BYTES = 500_000
LISTS = b'{"model": "neg", "data": [' + b"[[[[[[[[]]]]]]]]," * 29_000 + b"[]]}"
BOUNDARY = "-" * 60_000
BODIES = {
    "a bomb": ({"Content-Encoding": "gzip"}, gzip.compress(bytes(100 * MOST_BYTES)), 413),
    "a bomb in a bomb": (
        {"Content-Encoding": "gzip, gzip"},
        gzip.compress(gzip.compress(bytes(1000 * MOST_BYTES), 1)),
        413,
    ),
    "a bomb of members": ({"Content-Encoding": "gzip"}, gzip.compress(b"") * 20_000, 400),
    "a bomb that just fits": ({"Content-Encoding": "gzip"}, gzip.compress(LISTS), 422),
    "deep lists": ({}, b"[" * (MOST_BYTES - 1), 400),
    "a boundary without end": ({"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, b"--", 415),
    "parts without end": (
        {"Content-Type": "multipart/form-data; boundary=x"},
        b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n" * 8_000,
        415,
    ),
    "parameters without end": ({"Content-Type": "multipart/form-data" + "; a=b" * 10_000}, b"", 415),
}


@pytest.fixture(scope="module")
def served(repository: Path) -> Iterator[Proxy]:
    """A proxy with a worker, which takes bodies of half a megabyte."""
    with RedisServer() as redis, _served(redis, repository, MAX_BODY_BYTES=str(MOST_BYTES)) as proxy:
        yield proxy


@pytest.mark.parametrize("name", BODIES)
def test_bodies_beyond_every_bound_are_refused_and_noticed_by_nobody_else(served: Proxy, name: str) -> None:
    headers, body, status = BODIES[name]
    with (
        httpx.Client(base_url=served.url, timeout=60, headers=JSON | headers) as http,
        GoodClients(served.url, NEGATIONS).at_work() as good,
        ExitStack() as stack,
    ):
        hostile = [stack.enter_context(Again(lambda: http.post("/predict", content=body)).at_work()) for _ in range(3)]
        for client in hostile:
            client.await_outcomes(2)
        good.await_right(50)
    assert {answer.status_code for client in hostile for answer in client.outcomes} == {status}


def test_chunks_without_end_are_refused_and_noticed_by_nobody_else(served: Proxy) -> None:
    def send() -> bytes:
        with _connect(served) as line, suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(CHUNKED)
            line.settimeout(0.05)
            while True:
                line.sendall(CHUNK * 10)
                with suppress(TimeoutError):
                    return line.recv(65536)
        return b"cut off"

    with GoodClients(served.url, NEGATIONS).at_work() as good, Again(send).at_work() as hostile:
        hostile.await_outcomes(2)
        good.await_right(50)
    assert all(answer.startswith(b"HTTP/1.1 413 ") for answer in hostile.outcomes)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most memory that a process ever had")
def test_bodies_that_hang_take_no_more_memory_together_than_they_may(own_redis: RedisServer, repository: Path) -> None:
    with _served(own_redis, repository, MAX_BODY_BYTES="1000000") as proxy:
        before = _most_memory(proxy)
        with GoodClients(proxy.url, NEGATIONS).at_work() as good, ExitStack() as held:
            for _ in range(100):
                held.enter_context(_connect(proxy)).sendall(CHUNKED + CHUNK * 95)
            good.await_right(50)
        assert _most_memory(proxy) - before < 75_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most memory that a process ever had")
def test_clients_who_wait_take_no_memory_for_their_data(own_redis: RedisServer) -> None:
    """Nobody works on the queue. Read, each of these bodies takes 10 MB."""
    body = gzip.compress(b'{"data": [' + b"[0,0,0,0]," * 49_000 + b"[0]]}")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nPrefer: wait=60\r\nContent-Length: "
    with Proxy(own_redis.url, MAX_BODY_BYTES=str(MOST_BYTES)) as proxy, ExitStack() as held:
        before = _most_memory(proxy)
        for _ in range(30):
            held.enter_context(_connect(proxy)).sendall(b"%s%d\r\n\r\n%s" % (head, len(body), body))
        waiting = "inferqueue_waiting_clients 30.0"
        wait_until(lambda: waiting in httpx.get(proxy.metrics_url).text, what="30 who wait")
        assert _most_memory(proxy) - before < 50_000_000


CHUNKED = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"2710\r\n" + b" " * 10_000 + b"\r\n"


def _connect(proxy: Proxy) -> socket.socket:
    address = urlsplit(proxy.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def _most_memory(proxy: Proxy) -> int:
    """Return the most bytes that the proxy ever had in memory."""
    for line in Path(f"/proc/{proxy.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise AssertionError("there is no VmHWM")
