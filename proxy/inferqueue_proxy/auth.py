"""API keys: every request must carry one when any are set, except probes."""

import asyncio
import hmac
import logging
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from inferqueue_proxy.problems import Problem, respond

log = logging.getLogger(__name__)

FREE_PATHS = frozenset({"/health", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
REREAD_SECONDS = 1.0


class ApiKeys:
    """The keys that open the proxy, from a comma separated setting and from a file with one a line.

    Raises OSError when the file cannot be read at first; later, the keys last read stay in force.
    """

    def __init__(self, listed: str | None, file: Path | None) -> None:
        self._listed = _digests((listed or "").encode().split(b","))
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._filed: tuple[bytes, ...] = ()
        self.required = listed is not None or file is not None
        self.reread()

    def reread(self) -> None:
        """Read the file again if it has changed."""
        if self._file is None:
            return
        stat = self._file.stat()
        if self._stamp != (stat.st_mtime_ns, stat.st_size):
            self._filed = _digests(self._file.read_bytes().splitlines())
            self._stamp = (stat.st_mtime_ns, stat.st_size)

    async def run(self) -> None:
        """Follow the changes of the file without end; what keeps it from being read is said once."""
        said = ""
        while self._file is not None:
            await asyncio.sleep(REREAD_SECONDS)
            try:
                await asyncio.to_thread(self.reread)
            except OSError as error:
                if str(error) != said:
                    log.warning("API_KEYS_FILE cannot be read; the keys stay as they are", extra={"error": str(error)})
                said = str(error)
            else:
                said = ""

    def admit(self, key: str) -> str | None:
        """Return a name for the holder of `key`, None when it is unknown; the time taken tells nothing of the keys."""
        digest = sha256(key.encode("latin-1")).digest()  # the bytes of a header, as Starlette reads them
        known = False
        for ours in self._listed + self._filed:
            known |= hmac.compare_digest(digest, ours)
        return digest.hex()[:16] if known else None


def _digests(keys: list[bytes]) -> tuple[bytes, ...]:
    return tuple(sha256(key.strip()).digest() for key in keys if key.strip() and not key.lstrip().startswith(b"#"))


class Authentication:
    """Middleware: answers 401 to requests without a known key, and notes whose request it is."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") in FREE_PATHS:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        client = self._keys.admit(_given_key(request))
        if client is None:
            problem = Problem(
                "unauthorized",
                "the request carries no known API key; send it as `Authorization: Bearer …` or `X-API-Key: …`",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await respond(request, problem)(scope, receive, send)
            return
        scope["client_name"] = client
        await self._app(scope, receive, send)


def _given_key(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
