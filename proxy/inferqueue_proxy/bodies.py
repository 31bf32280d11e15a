"""Request bodies: read up to a cap, decompressed up to the same cap, parsed off the event loop when they are large."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request

from inferqueue_proxy.problems import Problem

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES = 64 * 1024
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_body(request: Request, limit: int) -> bytes:
    """Read the whole body; raise a Problem when it is larger than `limit` bytes or its encoding is not known."""
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    message = await request.receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        parts, size = [body], len(body)
        while message.get("more_body", False):
            message = await request.receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
        body = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if len(body) > limit:
        raise _too_large(limit)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise Problem(
            "unsupported-media-type",
            f"Content-Encoding: {encoding[:40]!r} is not supported; send gzip, deflate or no encoding",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return await asyncio.to_thread(_decompress, body, encoding, limit)


def _decompress(body: bytes, encoding: str, limit: int) -> bytes:
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise Problem("malformed-body", f"the body is not {encoding}, as its Content-Encoding says: {error}") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not stream.eof or stream.unused_data:
        raise Problem("malformed-body", f"the body is not one whole {encoding} stream, as its Content-Encoding says")
    return plain


def check_content_type(request: Request, accepted: tuple[str, ...]) -> str:
    """Give the body's media type, `application/json` when none is said; raise a Problem for one not accepted."""
    header = request.headers.get("content-type")
    if header is None:
        return "application/json"
    media_type = header.partition(";")[0].strip().lower()
    if media_type in accepted:
        return media_type
    if media_type.startswith("application/") and media_type.endswith("+json"):
        return "application/json"
    raise Problem(
        "unsupported-media-type",
        f"Content-Type: {header[:80]!r} is not supported; send {' or '.join(accepted)}",
        headers={"Accept": ", ".join(accepted)},
    )


def parse_json(body: bytes) -> Any:
    """Parse a JSON text; raise a Problem when it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem("malformed-body", f"the body is not JSON: {error}") from None


async def off_loop(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that takes time in proportion to `size` bytes: here when few, in a thread when many."""
    if size <= INLINE_BYTES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


def _too_large(limit: int) -> Problem:
    # The rest of the body is not read, so the connection cannot carry another request.
    return Problem(
        "body-too-large",
        f"the body is larger than {limit} bytes, the limit (MAX_BODY_BYTES); send less data in one request",
        headers={"Connection": "close"},
    )
