"""How both clients reach the proxy: addresses, keys and limits, and httpx's exceptions as replies."""

import os
from dataclasses import dataclass
from typing import Any

import httpx

from inferqueue.exchange import Answer, Failure, Send

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is, and the key to it."""

    url: str
    api_key: str | None

    @classmethod
    def find(cls, url: str | None, api_key: str | None) -> "Proxy":
        """Take what is given, else INFERQUEUE_URL and INFERQUEUE_API_KEY, else the proxy of `inferqueue up`."""
        url = url or os.environ.get("INFERQUEUE_URL") or DEFAULT_URL
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no address of a proxy; it begins with http:// or https://")
        return cls(url.rstrip("/"), api_key or os.environ.get("INFERQUEUE_API_KEY") or None)

    def client_options(self) -> dict[str, Any]:
        """Give what httpx's clients are made with."""
        headers = {"Accept": "application/json"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        # A loopback address is reached directly, whatever HTTP_PROXY says of the rest of the world.
        nearby = httpx.URL(self.url).host in ("127.0.0.1", "::1", "localhost")
        return {"base_url": self.url, "headers": headers, "trust_env": not nearby}


def request_options(send: Send, timeout: float) -> dict[str, Any]:
    """Give the arguments of httpx's `request`; the proxy's own wait comes on top of `timeout`."""
    return {
        "method": send.method,
        "url": send.path,
        "content": send.content,
        "headers": dict(send.headers),
        "timeout": httpx.Timeout(timeout, read=timeout + send.wait_seconds, pool=None),
    }


def as_answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)


def as_failure(error: httpx.TransportError) -> Failure:
    return Failure(str(error) or type(error).__name__)
