"""Request bodies: read up to a cap, decompressed up to the same cap, parsed off the event loop when they are large."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from starlette.requests import ClientDisconnect, Request

from inferqueue_proxy.json_texts import read_json
from inferqueue_proxy.problems import Problem

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES = 64 * 1024
MOST_CODINGS = 2
MOST_MEMBERS = 1024
_PIECE_BYTES = 64 * 1024
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_body(request: Request, limit: int) -> bytes:
    """Read the whole body; raise a Problem when it is larger than `limit` bytes or its encoding is not known."""
    declared = request.headers.get("content-length")
    if declared is None:
        _check_transfer_codings(request)
    elif declared.isdigit() and int(declared) > limit:
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
    if "content-encoding" not in request.headers:
        return body
    codings = _codings(request)
    return await asyncio.to_thread(_decode, body, codings, limit) if codings else body


def _check_transfer_codings(request: Request) -> None:
    header = request.headers.get("transfer-encoding", "chunked")
    if header.strip().lower() != "chunked":
        raise Problem(
            "not-supported",
            f"Transfer-Encoding: {header[:40]!r} is not supported; send chunked, and gzip as Content-Encoding",
            headers={"Connection": "close"},
        )


def _codings(request: Request) -> list[str]:
    """Give the codings that were put on the body, the first one first; raise a Problem for one that is not known."""
    header = ",".join(request.headers.getlist("content-encoding"))
    named = [name.strip().lower() for name in header.split(",")]
    codings = [name for name in named if name not in ("", "identity")]
    unknown = [name for name in codings if name not in _WINDOW_BITS]
    if unknown or len(codings) > MOST_CODINGS:
        shown = unknown[0] if unknown else ", ".join(codings)
        raise Problem(
            "unsupported-media-type",
            f"Content-Encoding: {shown[:40]!r} is not supported; send gzip, deflate or no encoding",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return codings


def _decode(body: bytes, codings: list[str], limit: int) -> bytes:
    for coding in reversed(codings):
        try:
            body = _gunzip(body, limit) if coding != "deflate" else _inflate(body, limit)
        except zlib.error as error:
            raise Problem("malformed-body", f"the body is not {coding}, as Content-Encoding says: {error}") from None
    return body


def _gunzip(body: bytes, limit: int) -> bytes:
    """Decompress the members of a gzip file one after another; zeros may follow the last one, as gzip(1) allows."""
    parts: list[bytes] = []
    at = 0
    while at < len(body) or not parts:
        if len(parts) == MOST_MEMBERS:
            raise zlib.error(f"it has more than {MOST_MEMBERS} members")
        plain, at = _decompress(body, at, _WINDOW_BITS["gzip"], limit, sum(map(len, parts)))
        parts.append(plain)
        if not body[at : at + 1].strip(b"\0") and not body[at:].strip(b"\0"):
            break
    return b"".join(parts)


def _inflate(body: bytes, limit: int) -> bytes:
    """Decompress a zlib stream, or the raw one that some clients send as `deflate` (RFC 9110, 8.4.1.2)."""
    has_header = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    plain, at = _decompress(body, 0, _WINDOW_BITS["deflate"] if has_header else -zlib.MAX_WBITS, limit)
    if at < len(body):
        raise zlib.error(f"{len(body) - at} bytes follow its end")
    return plain


def _decompress(body: bytes, at: int, window_bits: int, limit: int, before: int = 0) -> tuple[bytes, int]:
    """Decompress the stream that begins `at`; give what it holds, and where it ends. `before` counts to the limit."""
    stream = zlib.decompressobj(window_bits)
    parts: list[bytes] = []
    left = limit - before
    while not stream.eof:
        piece = body[at : at + _PIECE_BYTES]  # what follows the end is copied, so it must be little
        if not piece:
            raise zlib.error("it ends too early")
        parts.append(stream.decompress(piece, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise _too_large(limit)
        at += len(piece) - len(stream.unused_data)
    return b"".join(parts), at


def check_content_type(request: Request, accepted: tuple[str, ...], *, lenient: bool = False) -> str:
    """Give the body's media type, `application/json` when none is said; raise a Problem for one not accepted.

    With `lenient`, whatever is called by the name of another type counts as JSON, unless a page of another origin sends
    it: a browser asks nobody before it sends a form or plain text, and nobody has allowed that.
    """
    header = request.headers.get("content-type")
    if header is None:
        return "application/json"
    if header in accepted:
        return header
    media_type, _, parameters = (part.strip().lower() for part in header.partition(";"))
    if _is_wide(parameters):
        raise Problem(
            "unsupported-media-type",
            f"Content-Type: {header[:80]!r}: JSON is sent in UTF-8; leave the charset out",
            headers={"Accept": ", ".join(accepted)},
        )
    if media_type in accepted:
        return media_type
    if not media_type or (media_type.startswith("application/") and media_type.endswith("+json")):
        return "application/json"
    if lenient and media_type != "multipart/form-data" and "origin" not in request.headers:
        return "application/json"
    hint = f"; {_HINTS[media_type]}" if media_type in _HINTS else ""
    raise Problem(
        "unsupported-media-type",
        f"Content-Type: {header[:80]!r} is not supported; send {' or '.join(accepted)}{hint}",
        headers={"Accept": ", ".join(accepted)},
    )


_HINTS = {
    "application/x-www-form-urlencoded": "curl -d says so unless told -H 'Content-Type: application/json', or --json",
    "multipart/form-data": "a form has no types and shapes: send the data as JSON, with curl --json @file and not -F",
}


def _is_wide(parameters: str) -> bool:
    """Tell whether a charset is named in which JSON's own characters are not those of ASCII; others mean nothing."""
    return "charset=utf-16" in (plain := parameters.replace('"', "").replace(" ", "")) or "charset=utf-32" in plain


def parse_json(body: bytes) -> Any:
    """Parse a JSON text; raise a Problem when it is none."""
    try:
        return read_json(body)
    except ValueError as error:
        raise Problem("malformed-body", f"the body {error}") from None


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
