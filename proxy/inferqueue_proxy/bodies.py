"""Request bodies: read whole up to a cap, what they call themselves, and parsing off the event loop where large."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from starlette.requests import ClientDisconnect, Request

from inferqueue_proxy.body_limits import BodyLimits, HeldBody
from inferqueue_proxy.codings import check_transfer_codings, codings_of, decode, most_decoded, too_large
from inferqueue_proxy.json_texts import read_json
from inferqueue_proxy.problems import Problem

P = ParamSpec("P")
T = TypeVar("T")

INLINE_BYTES = 64 * 1024


async def read_body(request: Request, limits: BodyLimits, use: Callable[[bytes], Awaitable[T]]) -> T:
    """Read the whole body and return what `use` makes of it; the limits hold for as long as that takes.

    Raises a Problem when the body is larger than it may be, its encoding is not known, or too many others are here.
    """
    declared = request.headers.get("content-length")
    if declared is None:
        check_transfer_codings(request)
    elif declared.isdigit() and int(declared) > limits.most:
        raise too_large(limits.most)
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= INLINE_BYTES and "content-encoding" not in request.headers:
        if len(body) > limits.most:
            raise too_large(limits.most)
        return await use(body)
    with limits.hold() as held:
        held.add(body)
        if message.get("more_body", False):
            await _receive_rest(request, held, limits.most)
        codings = codings_of(request)
        size = most_decoded(held.size, codings, limits.most)
        if size > INLINE_BYTES:
            await held.turn(size)
        body = b"".join(held.parts)
        if len(body) > limits.most:
            raise too_large(limits.most)
        return await use(await asyncio.to_thread(decode, body, codings, limits.most) if codings else body)


async def _receive_rest(request: Request, held: HeldBody, limit: int) -> None:
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        held.add(message.get("body", b""))
        if held.size > limit:
            raise too_large(limit)
        more = message.get("more_body", False)


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
