"""One request and its answer, and what is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue.errors import InferQueueError, InvalidInput, NotFound, QueueFull, Refused, Unauthorized, Unreachable
from inferqueue.exchange import (
    LONGEST_PAUSE_SECONDS,
    Answer,
    Failure,
    Flow,
    Reply,
    Send,
    Sleep,
    exchange,
    pause_before,
    read_answer,
)

REQUEST = Send("GET", "/queues")
FULL = Answer(503, {"retry-after": "4"}, b'{"type":"urn:inferqueue:problem:queue-full","detail":"it is full"}')


def replay(flow: Flow[object], *replies: Reply) -> tuple[object, list[float]]:
    """Run a flow on these replies; give its value, or what it raised, and its pauses."""
    pauses: list[float] = []
    waiting = list(replies)
    try:
        step = next(flow)
        while True:
            if isinstance(step, Sleep):
                pauses.append(step.seconds)
                step = flow.send(None)
            else:
                step = flow.send(waiting.pop(0))
    except StopIteration as end:
        return end.value, pauses
    except InferQueueError as error:
        return error, pauses


@pytest.mark.parametrize(
    "passing", [Failure("refused"), Answer(502, {}, b""), Answer(503, {}, b""), Answer(504, {}, b"")]
)
def test_tries_again_what_may_pass(passing: Reply) -> None:
    value, pauses = replay(exchange(REQUEST, "here", 10), passing, passing, Answer(200, {}, b"[1]"))

    assert value == [1]
    assert len(pauses) == 2


def test_waits_as_long_as_the_proxy_asks() -> None:
    value, pauses = replay(exchange(REQUEST, "here", 10), FULL, Answer(200, {}, b"1"))

    assert (value, pauses) == (1, [4.0])


def test_gives_up_when_patience_is_over() -> None:
    error, pauses = replay(exchange(REQUEST, "here", 9), FULL, FULL, FULL)

    assert isinstance(error, QueueFull)
    assert (str(error), error.retry_after, pauses) == ("it is full", 4.0, [4.0, 4.0])


def test_no_patience_is_one_attempt() -> None:
    error, pauses = replay(exchange(REQUEST, "http://here", 0), Failure("refused"))

    assert isinstance(error, Unreachable)
    assert "http://here" in str(error)
    assert pauses == []


def test_an_outage_is_no_full_queue() -> None:
    outage = Answer(503, {}, b'{"type":"urn:inferqueue:problem:redis-unavailable","detail":"Redis does not answer"}')

    error, _ = replay(exchange(REQUEST, "here", 0), outage)

    assert isinstance(error, Unreachable)
    assert "Redis does not answer" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (401, Unauthorized),
        (404, NotFound),
        (409, Refused),
        (413, InvalidInput),
        (422, InvalidInput),
        (500, Refused),
    ],
)
def test_a_refusal_has_a_type(status: int, kind: type[Refused]) -> None:
    answer = Answer(status, {}, b'{"title":"No","detail":"because"}')

    with pytest.raises(kind, match="because") as caught:
        read_answer(answer, "here")

    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.title) == (status, "No")


def test_invalid_input_names_its_fields() -> None:
    answer = Answer(422, {}, b'{"detail":"no","errors":[{"field":"data","message":"wrong shape"}]}')

    with pytest.raises(InvalidInput) as caught:
        read_answer(answer, "here")

    assert caught.value.errors == (("data", "wrong shape"),)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b'{"errors": 3}'])
def test_any_refusal_can_be_read(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="HTTP status 422"):
        read_answer(Answer(422, {}, content), "here")


def test_another_server_is_told_from_a_proxy() -> None:
    with pytest.raises(Unreachable, match="not as an inferqueue proxy"):
        read_answer(Answer(200, {}, b"<html>"), "here")


@given(st.integers(1, 1000), st.floats(0, 100), st.floats(0, 1, exclude_max=True))
def test_pauses_are_bounded(attempt: int, asked: float, jitter: float) -> None:
    pause = pause_before(attempt, asked, jitter)

    assert asked <= pause <= max(asked, LONGEST_PAUSE_SECONDS)
    assert pause >= 0.05


def test_a_redirection_names_the_place() -> None:
    with pytest.raises(Refused, match="https://there"):
        read_answer(Answer(301, {"location": "https://there"}, b""), "here")


def test_a_refusal_of_somebody_else_is_read_with_care() -> None:
    error, _ = replay(exchange(REQUEST, "here", 0), Answer(503, {}, b'{"type": 5}'))

    assert isinstance(error, Unreachable)
