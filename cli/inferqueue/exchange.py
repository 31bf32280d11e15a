"""One request and its answer, without any network: what to send, how long to wait, what an answer means.

A flow is a generator: it yields `Send` or `Sleep`, is sent back an `Answer` or a `Failure` (or None after a sleep), and
returns its value. `Client` and `AsyncClient` run the same flows, each with its own kind of input and output.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from random import random
from typing import Any, TypeVar

import orjson

from inferqueue.errors import InvalidInput, NotFound, QueueFull, Refused, Unauthorized, Unreachable

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
_PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Send:
    """A request to send; `wait_seconds` is how long the proxy may hold its answer back (`Prefer: wait`)."""

    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause before the next request."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """No HTTP answer: the connection failed, or the answer did not come in time."""

    reason: str


Step = Send | Sleep
Reply = Answer | Failure | None
Flow = Generator[Step, Reply, T]


def exchange(request: Send, address: str, patience: float) -> Flow[Any]:
    """Send a request until it is answered for good, with growing pauses of `patience` seconds at most; give the JSON.

    Every request here may be sent again: submits carry an Idempotency-Key, the others change nothing twice.
    """
    paused, attempt = 0.0, 0
    while True:
        reply = yield request
        assert reply is not None
        if isinstance(reply, Answer) and reply.status not in _PASSING:
            return read_answer(reply, address)
        attempt += 1
        pause = pause_before(attempt, retry_after(reply), random())
        if paused + pause > patience:
            raise passing_error(reply, address)
        yield Sleep(pause)
        paused += pause


def pause_before(attempt: int, asked: float, jitter: float) -> float:
    """Return the seconds before the `attempt`-th repetition (1, 2, …), never fewer than the proxy `asked` for.

    Half of min(5, 0.1 · 2^(attempt-1)) s is kept and half is drawn by `jitter` in [0, 1).
    """
    ceiling = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 10))
    return max(asked, ceiling * (1 + jitter) / 2)


def retry_after(reply: Answer | Failure) -> float:
    """Read Retry-After in seconds; 0 where there is none, or a date."""
    value = reply.headers.get("retry-after", "") if isinstance(reply, Answer) else ""
    return float(value) if value.isascii() and value.isdigit() else 0.0


def read_answer(answer: Answer, address: str) -> Any:
    """Return the JSON of a good answer; raise the Refused that a bad one means."""
    if 200 <= answer.status < 300:
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise strange_answer(address) from None
    status, title, detail = answer.status, *_title_and_detail(answer)
    if status in (401, 403):
        raise Unauthorized(status, title, detail)
    if 300 <= status < 400:
        place = answer.headers.get("location", "nowhere")
        raise Refused(status, title, detail or f"{address} points to {place}; use the address of the proxy there")
    if status == 404:
        raise NotFound(status, title, detail)
    if status in (400, 413, 415, 422):
        raise InvalidInput(status, title, detail, _field_errors(answer))
    raise Refused(status, title, detail)


def strange_answer(address: str) -> Unreachable:
    """Return the error for an answer that no inferqueue proxy gives."""
    return Unreachable(f"{address} answers, but not as an inferqueue proxy: is the address right?")


def passing_error(reply: Answer | Failure, address: str) -> Unreachable | Refused:
    """Return the error for what did not pass in time."""
    if isinstance(reply, Failure):
        return Unreachable(
            f"no answer from {address} ({reply.reason}); is the proxy running there? `inferqueue up` starts one"
        )
    title, detail = _title_and_detail(reply)
    if reply.status == 503 and str(_problem(reply).get("type")).endswith("queue-full"):
        return QueueFull(reply.status, title, detail, retry_after(reply))
    if reply.status == 429:
        return Refused(reply.status, title, detail)
    return Unreachable(f"{address} cannot work now: {detail or title or f'HTTP status {reply.status}'}")


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        problem = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _title_and_detail(answer: Answer) -> tuple[str, str]:
    problem = _problem(answer)
    return str(problem.get("title", "")), str(problem.get("detail", ""))


def _field_errors(answer: Answer) -> list[tuple[str, str]]:
    errors = _problem(answer).get("errors")
    if not isinstance(errors, list):
        return []
    return [(str(error.get("field", "")), str(error.get("message", ""))) for error in errors if isinstance(error, dict)]
