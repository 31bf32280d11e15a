"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header-07): one key, one request, one set of jobs."""

import re
from hashlib import sha256
from typing import Any

import orjson

from inferqueue_core.jobs import Idempotency
from inferqueue_proxy.problems import Problem

MAX_LENGTH = 255
# A structured-field string (RFC 8941 §3.3.3), or a bare run of visible characters without quotes, comma and semicolon.
HEADER_PATTERN = r'^("([ !#-\[\]-~]|\\["\\])+"|[!#-+\--:<-\[\]-~]+)$'
_header = re.compile(HEADER_PATTERN)


def read_key(value: str) -> str:
    """Read the header: a structured-field string such as `"8e03…"`, or a bare token; raise a Problem for others."""
    if len(value) > MAX_LENGTH or not _header.match(value):
        raise Problem(
            "malformed-header",
            f"Idempotency-Key: {value[:40]!r} is not a key; send 1 to {MAX_LENGTH} printable characters in quotes",
        )
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def bind(value: str | None, client: str, route: str, request: Any) -> Idempotency | None:
    """Bind a key to the canonical form of a request (its parsed body); a key is one client's, on one route.

    Raises a Problem for a key that is none, and for a request nested too deeply to be written again.
    """
    if value is None:
        return None
    scope = f"{client}\n{route}\n{read_key(value)}"
    try:
        canonical = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        raise Problem("malformed-body", "the body is nested too deeply: more than 254 levels") from None
    return Idempotency(sha256(scope.encode()).hexdigest(), sha256(canonical).hexdigest())
