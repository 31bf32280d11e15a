"""Middleware for defects: what no handler expects is logged and answered with 500, and the connection lives on."""

import logging

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inferqueue_proxy.problems import Problem, respond

log = logging.getLogger(__name__)


class Failures:
    """Answers 500 for every exception that comes this far."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, note_start)
        except Exception:
            if started:
                raise
            log.exception("a request failed", extra={"path": scope["path"]})
            problem = Problem("internal-error", "this is a defect; the log of the proxy tells more")
            await respond(Request(scope), problem)(scope, receive, send)
