"""Codings of bodies: gzip and deflate, undone as the standards have it, up to a limit and not beyond."""

import zlib

from starlette.requests import Request

from inferqueue_proxy.problems import Problem

MOST_CODINGS = 2
MOST_MEMBERS = 1024
_PIECE_BYTES = 64 * 1024
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# What a byte that is compressed by deflate may stand for.
_MOST_DEFLATED = 1032


def check_transfer_codings(request: Request) -> None:
    """Raise a Problem when the body is transferred in another way than in chunks."""
    header = request.headers.get("transfer-encoding", "chunked")
    if header.strip().lower() != "chunked":
        raise Problem(
            "not-supported",
            f"Transfer-Encoding: {header[:40]!r} is not supported; send chunked, and gzip as Content-Encoding",
            headers={"Connection": "close"},
        )


def codings_of(request: Request) -> list[str]:
    """Return the codings that were put on the body, the first one first; raise a Problem for one that is not known."""
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


def most_decoded(size: int, codings: list[str], limit: int) -> int:
    """Return how many bytes a body of `size` may have when its codings are undone, up to `limit`."""
    for _ in codings:
        size *= _MOST_DEFLATED
    return min(limit, size)


def decode(body: bytes, codings: list[str], limit: int) -> bytes:
    """Undo the codings of a body; raise a Problem when it is larger than `limit` then, or not what they say."""
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
            raise too_large(limit)
        at += len(piece) - len(stream.unused_data)
    return b"".join(parts), at


def too_large(limit: int) -> Problem:
    """Return the refusal of a body of more than `limit` bytes, of which the rest is not read."""
    # So the connection cannot carry another request.
    return Problem(
        "body-too-large",
        f"the body is larger than {limit} bytes, the limit (MAX_BODY_BYTES); send less data in one request",
        headers={"Connection": "close"},
    )
