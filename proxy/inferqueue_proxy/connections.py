"""HTTP connections: they answer with one system call, and what is no HTTP, or has no end, with a problem document."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inferqueue_proxy.problems import MEDIA_TYPE, Problem, problem_document

MAX_HEAD_BYTES = 64 * 1024
"""Most bytes of a request beside its body; the parser's time for a longer header grows with its square."""

LINGER_SECONDS = 2.0
"""How long a client may go on sending after it was refused: closed at once, it could lose the answer."""


class Corked:
    """A transport that sends what is written in one turn of the event loop together.

    Uvicorn writes head and body of an answer one after the other, and uvloop sends each at once: a system call more,
    and a packet more, for every small answer. Closed while `is_sending` tells that the client still sends, it goes on
    reading for a moment: to close a socket with unread data resets the connection, and with it the answer.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        is_sending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._is_sending = is_sending
        self._pending: list[bytes] = []
        self._lingers = False

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def close(self) -> None:
        self._flush()
        if self._lingers or self._transport.is_closing():
            return
        if not self._is_sending():
            self._transport.close()
            return
        self._lingers = True
        self._transport.write_eof()
        self._transport.resume_reading()
        self._loop.call_later(LINGER_SECONDS, self._transport.close)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def _flush(self) -> None:
        if self._pending:
            written, self._pending = self._pending, []
            self._transport.writelines(written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CorkedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol on a corked transport, with an end to the length of headers."""

    _head_bytes = 0
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn declares it
        super().connection_made(cast(asyncio.Transport, Corked(transport, self.loop, self._is_sending)))

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(Problem("head-too-large", f"its URL and headers have more than {MAX_HEAD_BYTES} bytes"))

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem("malformed-request", "what came is not HTTP/1.1, as RFC 9112 has it"))

    def _refuse(self, problem: Problem) -> None:
        """Answer outside of any request, where no other answer is under way, and close."""
        self._is_refused = True
        cycle = self._last_cycle()
        if cycle is None or cycle.response_complete:
            body = problem_document(problem)
            head = (
                f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _is_sending(self) -> bool:
        cycle = self._last_cycle()
        return self._is_refused or (cycle is not None and cycle.more_body)

    def _last_cycle(self) -> RequestResponseCycle | None:
        return self.cycle  # Uvicorn declares it as never None, and begins with None
