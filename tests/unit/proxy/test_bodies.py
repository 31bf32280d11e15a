"""Bodies are decompressed as the standards have it, up to the limit and not beyond."""

import asyncio
import gzip
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from inferqueue_proxy.bodies import check_content_type, parse_json, read_body
from inferqueue_proxy.body_limits import BodyLimits
from inferqueue_proxy.codings import MOST_MEMBERS
from inferqueue_proxy.problems import Problem

LIMIT = 100_000


def _request(body: bytes, *headers: tuple[str, str]) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    encoded = [
        (name.lower().encode(), value.encode()) for name, value in (("Content-Length", str(len(body))), *headers)
    ]
    return Request({"type": "http", "method": "POST", "path": "/predict", "headers": encoded}, receive)


def _read(body: bytes, *codings: str, limit: int = LIMIT) -> bytes:
    request = _request(body, *(("Content-Encoding", coding) for coding in codings))

    async def use(whole: bytes) -> bytes:
        return whole

    return asyncio.run(read_body(request, BodyLimits(limit), use))


def _raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


def _members(parts: Sequence[bytes]) -> bytes:
    return b"".join(map(gzip.compress, parts))


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5), st.integers(0, 70_000))
def test_gzip_may_have_several_members_and_zeros_after_them(parts: list[bytes], zeros: int) -> None:
    assert _read(_members(parts) + bytes(zeros), "gzip") == b"".join(parts)


@given(st.binary(max_size=5000))
def test_deflate_is_a_zlib_stream_or_a_raw_one(body: bytes) -> None:
    assert _read(zlib.compress(body), "deflate") == body
    assert _read(_raw_deflate(body), "deflate") == body


@pytest.mark.parametrize(
    "codings", [("gzip",), ("X-GZIP",), ("identity, gzip",), ("gzip, identity",), ("identity", "gzip"), ("gzip,",)]
)
def test_codings_are_read_as_a_list(codings: tuple[str, ...]) -> None:
    assert _read(gzip.compress(b"1"), *codings) == b"1"


@pytest.mark.parametrize("coding", ["", "identity", "identity, identity"])
def test_identity_is_no_coding(coding: str) -> None:
    assert _read(b"1", coding) == b"1"


def test_two_codings_are_undone_in_turn() -> None:
    assert _read(gzip.compress(zlib.compress(b"1")), "deflate, gzip") == b"1"


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip;q=1", "gzip, br", "gzip, gzip, gzip"])
def test_other_codings_are_refused_with_those_that_are_taken(coding: str) -> None:
    with pytest.raises(Problem, match="send gzip, deflate or no encoding") as refusal:
        _read(b"1", coding)
    assert (refusal.value.status, refusal.value.headers) == (415, {"Accept-Encoding": "gzip, deflate"})


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"", "gzip"),
        (b"{}", "gzip"),
        (gzip.compress(b"1", mtime=0)[:-1], "gzip"),
        (gzip.compress(b"1", mtime=0) + b"x", "gzip"),
        (gzip.compress(b"", mtime=0) * (MOST_MEMBERS + 1), "gzip"),
        (b"", "deflate"),
        (zlib.compress(b"1")[:-1], "deflate"),
        (zlib.compress(b"1") + b"\0", "deflate"),
        (_raw_deflate(b"1") + b"x", "deflate"),
        (gzip.compress(b"1", mtime=0), "deflate"),
    ],
)
def test_what_is_no_whole_stream_is_refused(body: bytes, coding: str) -> None:
    with pytest.raises(Problem) as refusal:
        _read(body, coding)
    assert (refusal.value.kind, refusal.value.status) == ("malformed-body", 400)


@pytest.mark.parametrize(
    "bomb", [gzip.compress(bytes(LIMIT + 1), mtime=0), _members([bytes(LIMIT // 2)] * 3)], ids=["one", "several"]
)
def test_the_limit_holds_for_what_is_decompressed(bomb: bytes) -> None:
    with pytest.raises(Problem, match=f"larger than {LIMIT} bytes"):
        _read(bomb, "gzip")
    assert len(_read(gzip.compress(bytes(LIMIT)), "gzip")) == LIMIT


@given(st.sampled_from(["gzip", "deflate", "deflate, gzip"]), st.binary(max_size=3000))
def test_any_bytes_are_decompressed_or_refused(coding: str, body: bytes) -> None:
    try:
        size = len(_read(body, coding))
    except Problem:
        return
    assert size <= LIMIT


def _type(value: str | None, *, lenient: bool = False, origin: bool = False) -> str:
    headers = [("Content-Type", value)] if value is not None else []
    headers += [("Origin", "http://elsewhere.example")] if origin else []
    return check_content_type(_request(b"", *headers), ("application/json", "application/x-ndjson"), lenient=lenient)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        ";",
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.x+json",
        'application/json;charset="latin1"',
    ],
)
def test_json_by_any_of_its_names(value: str | None) -> None:
    assert _type(value) == "application/json"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("application/x-www-form-urlencoded", "-H 'Content-Type: application/json'"),
        ("multipart/form-data; boundary=x", "send the data as JSON"),
        ("text/plain", "send application/json or application/x-ndjson"),
        ("application/json; charset=utf-16", "JSON is sent in UTF-8"),
        ('application/json; charset="UTF-32LE"', "JSON is sent in UTF-8"),
    ],
)
def test_other_types_are_refused_with_what_to_send(value: str, hint: str) -> None:
    with pytest.raises(Problem, match="Content-Type") as refusal:
        _type(value)
    assert hint in refusal.value.detail
    assert refusal.value.headers == {"Accept": "application/json, application/x-ndjson"}


@pytest.mark.parametrize("value", ["application/x-www-form-urlencoded", "text/plain", "*/*", "binary/octet-stream"])
def test_a_lenient_route_takes_json_by_any_name_but_not_from_pages_of_other_origins(value: str) -> None:
    assert _type(value, lenient=True) == "application/json"
    with pytest.raises(Problem):
        _type(value, lenient=True, origin=True)


def test_a_lenient_route_takes_no_forms_with_files() -> None:
    with pytest.raises(Problem, match="multipart"):
        _type("multipart/form-data; boundary=x", lenient=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is empty"),
        ("{}".encode("utf-16"), "is UTF-16; send UTF-8"),
        (b"{", "is not JSON"),
        (b"[NaN]", "is not JSON"),
    ],
)
def test_what_is_no_json_is_told_in_words(body: bytes, message: str) -> None:
    with pytest.raises(Problem, match=message):
        parse_json(body)


def test_a_byte_order_mark_is_not_in_the_way() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
