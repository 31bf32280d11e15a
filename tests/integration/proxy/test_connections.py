"""What reaches the proxy over a plain socket: no HTTP at all, headers without end, bodies that nobody wants."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson
import pytest

from support.programs import Proxy

REFUSED = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json\r\n"


@pytest.fixture
def line(bare_proxy: Proxy) -> Iterator[socket.socket]:
    address = urlsplit(bare_proxy.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        yield connection


def _all(line: socket.socket) -> bytes:
    return b"".join(iter(lambda: line.recv(65536), b""))


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"FETCH /predict HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /job/\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\nContent-Length: 9\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_a_problem_document(line: socket.socket, sent: bytes) -> None:
    line.sendall(sent)
    head, _, body = _all(line).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n")
    document = orjson.loads(body)
    assert (document["status"], document["type"]) == (400, "urn:inferqueue:problem:malformed-request")


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"a" * 1000),
        (b"GET /health HTTP/1.1\r\nX: ", b"a" * 1000),
        (b"GET /health HTTP/1.1\r\n", b"a: b\r\n" * 200),
    ],
)
def test_a_header_without_end_is_refused(line: socket.socket, begin: bytes, piece: bytes) -> None:
    line.sendall(begin)
    for _ in range(500):
        line.sendall(piece)
    assert _all(line).startswith(REFUSED)


def test_trailers_without_end_are_refused(line: socket.socket) -> None:
    line.sendall(b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX: ")
    for _ in range(500):
        line.sendall(b"a" * 1000)
    assert _all(line).startswith(REFUSED)


def test_a_body_in_tiny_chunks_is_no_header(line: socket.socket) -> None:
    line.sendall(b"POST /predict HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        line.sendall(b"1\r\n \r\n" * 200)
    line.sendall(b"7\r\n" + b'{"data"' + b"\r\n3\r\n:1}\r\n0\r\n\r\n")
    assert _all(line).startswith(b"HTTP/1.1 202 ")


def test_who_is_refused_may_finish_sending(line: socket.socket) -> None:
    line.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n")
    assert _all(line).startswith(b"HTTP/1.1 413 ")
    for _ in range(50):  # a closed socket would reset the connection, and the answer could be lost on the way
        line.sendall(b"x" * 1000)


BODY = b'{"data": [[1]]}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET http://x/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET http://x?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /%6civez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /livez/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /livez HTTP/1.0\r\n\r\n", b"200"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"204"),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length:  15 \r\n\r\n" + BODY, b"202"),
        (
            b"POST /predict HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\nTrailer: X\r\n\r\n"
            b'f;a=1;b="c"\r\n' + BODY + b"\r\n0;last\r\nX: y\r\n\r\n",
            b"202",
        ),
    ],
)
def test_what_the_standards_allow_is_taken(line: socket.socket, sent: bytes, status: bytes) -> None:
    line.sendall(sent)
    assert _all(line).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("pieces", [1, 7, 50])
def test_an_upgrade_to_http_2_is_not_taken_and_the_request_is(line: socket.socket, pieces: int) -> None:
    """Java's client offers it with each request; so does curl --http2."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\n" + upgrade + LENGTH + b"\r\n" + BODY
    size = -(-len(request) // pieces)
    for at in range(0, len(request), size):
        line.sendall(request[at : at + size])
    assert _all(line).startswith(b"HTTP/1.1 202 ")


def test_requests_after_an_upgrade_that_was_not_taken_are_answered(line: socket.socket) -> None:
    upgrade = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    line.sendall(upgrade * 3 + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert _all(line).count(b"HTTP/1.1 200 OK") == 4


def test_who_asks_before_sending_a_body_is_told_to_go_on(line: socket.socket) -> None:
    line.sendall(
        b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n" + LENGTH + b"\r\n"
    )
    assert line.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.sendall(BODY)
    assert _all(line).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(("path", "length", "status"), [(b"/nothing", 15, b"404"), (b"/predict", 9_000_000, b"413")])
def test_a_body_that_nobody_wants_is_not_asked_for(
    line: socket.socket, path: bytes, length: int, status: bytes
) -> None:
    """The connection is closed: whether the client sends the body all the same cannot be known."""
    line.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (path, length))
    answer = _all(line)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nconnection: close\r\n" in answer.lower()


def test_a_transfer_coding_that_is_not_known_is_named(line: socket.socket) -> None:
    line.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
    answer = _all(line)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"'gzip, chunked' is not supported; send chunked" in answer
