"""How both clients reach the proxy: addresses, keys and limits, and httpx's exceptions as replies."""

import os
from dataclasses import dataclass
from typing import Any

import httpx

from inferqueue.exchange import Answer, Failure, Send

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is, and the key to it."""

    url: str
    api_key: str | None

    @classmethod
    def find(cls, url: str | None, api_key: str | None) -> "Proxy":
        """Take what is given, else INFERQUEUE_URL and INFERQUEUE_API_KEY, else the proxy of `inferqueue up`."""
        url = url or os.environ.get("INFERQUEUE_URL") or DEFAULT_URL
        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"{url!r} is no address of a proxy: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.host:
            raise ValueError(f"{url!r} is no address of a proxy, such as {DEFAULT_URL}")
        key = api_key or os.environ.get("INFERQUEUE_API_KEY") or None
        if key is not None and (not key.isprintable() or key != key.strip()):
            raise ValueError("the API key begins or ends with a space, or holds a line end or the like: no header can")
        return cls(url.rstrip("/"), key)

    def client_options(self) -> dict[str, Any]:
        """Return what httpx's clients are made with."""
        headers = {"Accept": b"application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}".encode()
        # A loopback address is reached directly, whatever HTTP_PROXY says of the rest of the world.
        nearby = httpx.URL(self.url).host in ("127.0.0.1", "::1", "localhost")
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=20)
        return {"base_url": self.url, "headers": headers, "trust_env": not nearby, "limits": limits}


def request_options(send: Send, timeout: float) -> dict[str, Any]:
    """Return the arguments of httpx's `request`; the proxy's own wait comes on top of `timeout`."""
    return {
        "method": send.method,
        "url": send.path,
        "content": send.content,
        "headers": dict(send.headers),
        "timeout": httpx.Timeout(timeout, read=timeout + send.wait_seconds, pool=None),
    }


def as_answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)


def as_failure(error: httpx.RequestError) -> Failure:
    return Failure(str(error) or type(error).__name__)
