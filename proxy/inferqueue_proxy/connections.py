"""HTTP connections: answered with one system call; what is no HTTP, or has no end, gets a problem document."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import httptools
import uvicorn
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from inferqueue_proxy.auth import FREE_PATHS
from inferqueue_proxy.connection_limits import MIN_BYTES_PER_SECOND, ConnectionLimits, Owed
from inferqueue_proxy.problems import MEDIA_TYPE, Problem, problem_document, respond

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

    def end(self) -> None:
        """Close without listening to the client any longer."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def _flush(self) -> None:
        if self._pending:
            written, self._pending = self._pending, []
            self._transport.writelines(written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LimitedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol on a corked transport, with an end to the length of headers and to everybody's time."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._head_bytes = 0
        self._is_refused = False
        self._owed = Owed.REQUEST
        self._since = self.loop.time()
        self._unsent = 0
        self._unsent_since = 0.0

    # ---- what Uvicorn's server and the parser call ---------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn declares it
        super().connection_made(cast(asyncio.Transport, Corked(transport, self.loop, self._is_sending)))
        self._limits.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._owed is Owed.NOTHING:
            self._limits.end_answer()
        self._owed = Owed.REQUEST
        self._limits.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        now = self.loop.time()
        if self._owed is Owed.REQUEST or self._owed is Owed.NEXT:
            self._owed, self._since = Owed.HEAD, now
        elif self._owed is Owed.BODY:
            self._since = min(now, self._since + len(data) / MIN_BYTES_PER_SECOND)
        self._parse(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(Problem("head-too-large", f"its URL and headers have more than {MAX_HEAD_BYTES} bytes"))

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        if self.parser.should_upgrade():
            return  # the parser stops here, and `_parse` goes on
        if self._owed is Owed.NOTHING:
            self._limits.end_answer()  # of a request before, which is answered still: this one is read first
        self._owed, self._since = Owed.BODY, self.loop.time()
        if not self.url.startswith(b"/"):
            self.url = _with_path(self.url)
        if self._limits.is_full:
            self._answer_beyond_limit()
            return
        super().on_headers_complete()
        if self.expect_100_continue:
            _close_unless_continued(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        if self.cycle.response_complete:
            self._owed, self._since = Owed.NEXT, self.loop.time()
        else:
            self._owed = Owed.NOTHING
            self._limits.begin_answer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._owed is Owed.NOTHING and self.cycle.response_complete:
            self._limits.end_answer()
            self._owed, self._since = Owed.NEXT, self.loop.time()
        super().on_response_complete()

    # ---- what the limits ask -------------------------------------------------------------------------------

    def owes(self, now: float) -> tuple[Owed, float]:
        """Tell what the client owes at `now`, and since when; for what it sends and takes it is given time."""
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            taken = self._unsent - unsent
            late = self._unsent_since + max(0, taken) / MIN_BYTES_PER_SECOND
            self._unsent_since = min(now, late) if self._unsent else now
            self._unsent = unsent
            return Owed.ANSWER, self._unsent_since
        self._unsent = 0
        if self.transport.is_closing() or self.flow.read_paused:
            self._since = now
            return Owed.NOTHING, now
        return self._owed, self._since

    def let_go(self, problem: Problem) -> None:
        """Close at once: with this answer where a request has begun and is not answered yet."""
        if self._unsent:
            self.transport.abort()
            return
        if self._owed in (Owed.HEAD, Owed.BODY):
            self._answer_instead(problem)
        cast(Corked, self.transport).end()

    # --------------------------------------------------------------------------------------------------------

    def _answer_beyond_limit(self) -> None:
        """Begin a request that only a probe is answered, and no other after it."""
        served = self.app

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"].rstrip("/") in FREE_PATHS:
                await served(scope, receive, send)
            else:
                await respond(Request(scope), self._limits.refuse())(scope, receive, send)

        self.app = answer
        super().on_headers_complete()
        self.app = served
        self.cycle.keep_alive = False

    def _parse(self, data: bytes) -> None:
        """Parse what came; an upgrade to another protocol is not taken, as RFC 9110 allows: the request goes on."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as stop:
                if self.parser.get_method() == b"CONNECT":
                    self._refuse(Problem("malformed-request", "CONNECT is for proxies of another kind"))
                    return
                data = self._head_without_upgrade() + data[stop.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as Uvicorn does
            except httptools.HttpParserError:
                self._refuse(Problem("malformed-request", "what came is not HTTP/1.1, as RFC 9112 has it"))
                return

    def _head_without_upgrade(self) -> bytes:
        lines = [b" ".join((self.parser.get_method(), self.url, b"HTTP/1.1"))]
        for name, value in self.headers:
            if name == b"connection":
                kept = [token for token in value.split(b",") if token.strip().lower() not in _UPGRADE_TOKENS]
                lines.append(b"connection: " + b",".join(kept))
            elif name not in _UPGRADE_TOKENS:
                lines.append(name + b": " + value)
        return b"\r\n".join((*lines, b"", b""))

    def _refuse(self, problem: Problem) -> None:
        """Answer what cannot be read, and close."""
        self._is_refused = True
        self._answer_instead(problem)
        self.transport.close()

    def _answer_instead(self, problem: Problem) -> None:
        """Answer outside of any request, or the one whose body is still to come, where no other answer is under way."""
        cycle = self._last_cycle()
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline or not cycle.more_body:
                return
            cycle.disconnected = True  # its handler hears of it, and answers nobody
            cycle.message_event.set()
        self._write(problem)

    def _write(self, problem: Problem) -> None:
        body = problem_document(problem)
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body))}
        headers |= problem.headers | {"Connection": "close"}
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
        self.transport.write(f"{status}{lines}\r\n".encode() + body)

    def _is_sending(self) -> bool:
        cycle = self._last_cycle()
        return self._is_refused or (cycle is not None and cycle.more_body)

    def _last_cycle(self) -> RequestResponseCycle | None:
        return self.cycle  # Uvicorn declares it as never None, and begins with None


_UPGRADE_TOKENS = (b"upgrade", b"http2-settings")


def _with_path(url: bytes) -> bytes:
    """Return a request's target with the path that RFC 9112 wants there: `http://host?a=b` stands for the root."""
    scheme, mark, rest = url.partition(b"://")
    authority, slash, _ = rest.partition(b"/")
    if not mark or slash:
        return url
    authority, question, query = authority.partition(b"?")
    return scheme + mark + authority + b"/" + question + query


def _close_unless_continued(cycle: RequestResponseCycle) -> None:
    """Close after an answer to a client that still waits for `100 Continue`: it may send its body or may not."""
    send = cycle.send

    async def send_final(message: ASGISendEvent) -> None:
        if cycle.waiting_for_100_continue:
            cycle.keep_alive = False
        await send(message)

    cycle.send = send_final  # type: ignore[method-assign]  # Uvicorn makes the cycle, so it cannot be a subclass
