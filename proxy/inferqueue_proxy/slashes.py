"""Middleware for slashes: a path that ends with one is taken for the path without it, as Triton does."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Slashes:
    """Takes slashes off the end of the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/") and scope["path"] != "/":
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)
