"""Requests to the Kubernetes API server, with the credentials that kopf finds."""

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import kopf

from inferqueue_operator.errors import ApiError, ConflictError, ForbiddenError, NotFoundError

logger = logging.getLogger(__name__)

MERGE_PATCH = "application/merge-patch+json"
_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=5)
_ERRORS: Mapping[int, type[ApiError]] = {403: ForbiddenError, 404: NotFoundError, 409: ConflictError}
_ATTEMPTS = 3
_CLOCK_SLACK = 2.0
_MOST_CONNECTIONS = 50


def log_in() -> kopf.ConnectionInfo:
    """Find the API server: by the pod's service account, else by the kubeconfig. Raises ApiError without either."""
    settings = kopf.OperatorSettings()
    info = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if info is None:
        raise ApiError("there is neither a service account nor a kubeconfig; set KUBECONFIG or run in a pod")
    return info


class KubernetesApi:
    """A client of the API server: JSON in, JSON out; `clock_ahead`: seconds that our clock is ahead of the server's."""

    def __init__(self, login: Callable[[], kopf.ConnectionInfo] = log_in) -> None:
        self._login = login
        self._session: aiohttp.ClientSession | None = None
        self._renewal = asyncio.Lock()
        self._server = ""
        self.clock_ahead = 0.0

    async def open(self) -> None:
        """Read the credentials and make the connections' pool."""
        info = await asyncio.to_thread(self._login)
        connector = aiohttp.TCPConnector(ssl=info.as_ssl_context(), limit=_MOST_CONNECTIONS)
        headers = {"User-Agent": "inferqueue-operator", **info.as_http_headers()}
        old, self._session = self._session, aiohttp.ClientSession(connector=connector, headers=headers)
        self._server = info.server.rstrip("/")
        if old is not None:
            await old.close()

    async def _renew(self, expired: aiohttp.ClientSession) -> None:
        """Log in again, once for all whose request was refused with these credentials."""
        async with self._renewal:
            if self._session is expired:
                await self.open()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """Read one object or list."""
        return await self._request("GET", path, parameters)

    async def patch(self, path: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """Change an object by a JSON merge patch; gives the new one."""
        return await self._request("PATCH", path, {"fieldManager": "inferqueue-operator"}, change, MERGE_PATCH)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._request("POST", path, {}, body, "application/json")

    async def watch(self, path: str, seconds: float, **parameters: str) -> AsyncIterator[dict[str, Any]]:
        """Yield changes, {type, object}, for about `seconds`; 90 s of silence end it too (bookmarks come)."""
        timeout = aiohttp.ClientTimeout(total=seconds + 10, sock_connect=5, sock_read=90)
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": f"{seconds:.0f}"} | parameters
        async with self._opened(path, query, timeout) as response:
            rest = b""
            with contextlib.suppress(TimeoutError, aiohttp.ClientPayloadError):
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield json.loads(line)

    @contextlib.asynccontextmanager
    async def _opened(
        self, path: str, query: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._session
        assert session is not None
        try:
            async with session.get(self._server + path, params=query, timeout=timeout) as response:
                if response.status == 401:
                    await self._renew(session)
                if response.status >= 400:
                    raise _error("GET", path, response.status, await response.text())
                yield response
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(f"GET {path}: the API server does not answer: {error!r}") from error

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        content_type: str | None = None,
    ) -> dict[str, Any]:
        """Send one request; again after a 401 (new credentials) and when the server asks for patience (429)."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if content_type is None else {"Content-Type": content_type}
        for attempt in range(_ATTEMPTS):
            session = self._session
            assert session is not None
            try:
                async with session.request(
                    method, self._server + path, params=query, data=data, headers=headers, timeout=_TIMEOUT
                ) as response:
                    text, status = await response.text(), response.status
                    self._compare_clocks(response.headers.get("Date", ""))
            except (aiohttp.ClientError, OSError) as error:
                # Another request's new credentials have closed this connection.
                if session is not self._session and attempt < _ATTEMPTS - 1:
                    continue
                raise ApiError(f"{method} {path}: the API server does not answer: {error!r}") from error
            if status < 400:
                answer: dict[str, Any] = json.loads(text)
                return answer
            if attempt == _ATTEMPTS - 1 or status not in (401, 429):
                raise _error(method, path, status, text)
            if status == 401:
                await self._renew(session)
            else:
                await asyncio.sleep(random.uniform(0.2, 1.0))
        raise AssertionError("unreachable")

    def _compare_clocks(self, date: str) -> None:
        """Take the time of an answer, which is told in whole seconds: what may be that alone is no difference."""
        try:
            ahead = time.time() - parsedate_to_datetime(date).timestamp() - 0.5
        except ValueError:
            return
        self.clock_ahead = ahead if abs(ahead) > _CLOCK_SLACK else 0.0


def _error(method: str, path: str, status: int, text: str) -> ApiError:
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text[:500]
    return _ERRORS.get(status, ApiError)(f"{method} {path}: {status}: {message}")
