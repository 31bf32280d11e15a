"""What the client sends, and how it goes on after each answer."""

from collections.abc import Iterator

import orjson
import pytest

from inferqueue.errors import Unreachable, WaitTimeout
from inferqueue.exchange import Answer, Flow, Send
from inferqueue.flows import BATCH_BYTES, Flows, Options, quoted_key
from inferqueue.jobs import JobFailed

PENDING = Answer(200, {}, b'{"job_id":"j1","status":"pending","result":null}')
DONE = Answer(200, {}, b'{"job_id":"j1","status":"completed","result":{"prediction":0},"attempts":1}')
FAILED = Answer(200, {}, b'{"job_id":"j1","status":"failed","result":null,"error":"no"}')


def flows(*times: float) -> Flows:
    clock: Iterator[float] = iter(times)
    return Flows("here", 0, lambda: next(clock))


def sent(flow: Flow[object], *replies: Answer) -> tuple[object, list[Send]]:
    requests: list[Send] = []
    waiting = list(replies)
    step = next(flow)
    try:
        while True:
            assert isinstance(step, Send)
            requests.append(step)
            step = flow.send(waiting.pop(0))
    except StopIteration as end:
        return end.value, requests


def test_a_submit_carries_a_key_of_its_own() -> None:
    _, (first,) = sent(flows().submit([[1]], Options()), PENDING)
    _, (second,) = sent(flows().submit([[1]], Options()), PENDING)

    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    assert first.content == b'{"data":[[1]]}'
    assert "Prefer" not in first.headers


def test_a_submit_says_what_it_is_told() -> None:
    options = Options(model="m", deadline_seconds=2.5, idempotency_key='my "key"')

    _, (request,) = sent(flows().submit([[1]], options), PENDING)

    assert orjson.loads(request.content or b"") == {"data": [[1]], "model": "m", "deadline_seconds": 2.5}
    assert request.headers["Idempotency-Key"] == r'"my \"key\""'


@pytest.mark.parametrize("key", ["", "é", "a\nb", "x" * 256])
def test_an_unusable_key_is_refused_before_anything_is_sent(key: str) -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        quoted_key(key)


def test_predict_needs_one_request_when_the_job_is_quick() -> None:
    value, (request,) = sent(flows(0).predict([[1]], Options(), None), DONE)

    assert value == {"prediction": 0}
    assert request.headers["Prefer"] == "wait=30"
    assert request.wait_seconds == 30


def test_predict_goes_on_waiting() -> None:
    value, requests = sent(flows(0, 2, 2, 3).predict([[1]], Options(), 10), PENDING, PENDING, DONE)

    assert value == {"prediction": 0}
    assert [(request.method, request.path) for request in requests] == [
        ("POST", "/predict"),
        ("GET", "/job/j1"),
        ("GET", "/job/j1"),
    ]


def test_waiting_ends_with_its_timeout() -> None:
    with pytest.raises(WaitTimeout, match="j1 has not ended within 5 s") as caught:
        sent(flows(0, 0, 5, 5).wait("j1", 5), PENDING)

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.job_id == "j1"


def test_waiting_without_a_timeout_goes_on() -> None:
    job, requests = sent(flows(0).wait("j1", None), PENDING, PENDING, DONE)

    assert job is not None
    assert len(requests) == 3


def test_a_failed_job_raises() -> None:
    with pytest.raises(JobFailed, match="job j1 failed: no") as caught:
        sent(flows(0).result("j1", None), FAILED)

    assert caught.value.job.error == "no"


def test_cancel_of_an_ended_job_tells_how_it_ended() -> None:
    status, _ = sent(flows().cancel("j1"), Answer(409, {}, b"{}"), DONE)

    assert status == "completed"


def test_a_job_id_cannot_become_another_path() -> None:
    _, (request,) = sent(flows().read("../queues?x"), DONE)

    assert request.path == "/job/..%2Fqueues%3Fx"


def test_many_jobs_go_in_few_requests() -> None:
    answers = [Answer(202, {}, orjson.dumps({"job_ids": [f"{n}"] * size})) for n, size in enumerate([1000, 1000, 1])]

    ids, requests = sent(flows().submit_many([[[n]] for n in range(2001)], Options(idempotency_key="k")), *answers)

    assert ids == ["0"] * 1000 + ["1"] * 1000 + ["2"]
    assert [len(orjson.loads(request.content or b"")) for request in requests] == [1000, 1000, 1]
    assert [request.headers["Idempotency-Key"] for request in requests] == ['"k-0"', '"k-1"', '"k-2"']


def test_large_jobs_go_in_more_requests() -> None:
    answers = [Answer(202, {}, b'{"job_ids":["x"]}')] * 3

    _, requests = sent(flows().submit_many(["x" * (BATCH_BYTES * 2 // 3)] * 3, Options()), *answers)

    assert len(requests) == 3


def test_no_jobs_need_no_request() -> None:
    flow = flows().submit_many([], Options())

    with pytest.raises(StopIteration) as end:
        next(flow)

    assert end.value.value == []


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_deadline_that_json_cannot_say_is_refused_before_anything_is_sent(seconds: float) -> None:
    with pytest.raises(ValueError, match="deadline_seconds"):
        next(flows().submit([[1]], Options(deadline_seconds=seconds)))


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"null", b'{"job_id":"j1","status":"resting"}'])
def test_json_of_somebody_else_is_an_error_of_ours(answer: bytes) -> None:
    for flow in (flows().submit([1], Options()), flows().queues(), flows().submit_many([1], Options())):
        with pytest.raises(Unreachable, match="is the address right"):
            sent(flow, Answer(200, {}, answer))
