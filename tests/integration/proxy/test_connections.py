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
    assert _all(line) == b""  # an answer to the request itself was still to come


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
