import gzip
import threading
import time
from typing import Any

import httpx
import orjson
import pytest

from support.programs import Proxy
from support.redis_servers import RedisServer

DATA = {"data": [[5.1, 3.5, 1.4, 0.2]]}
JSON = {"Content-Type": "application/json"}


def _work_naively(redis: RedisServer, result: bytes = b'{"prediction": 0}') -> threading.Thread:
    """Run one job as somebody would who knows only the five keys."""

    def work() -> None:
        with redis.client() as client:
            popped: Any = client.brpop("predict_queue", timeout=30)
            job_id = popped[1].decode()
            assert client.get(f"job:{job_id}:data") == orjson.dumps(DATA["data"])
            client.set(f"job:{job_id}:result", result, ex=60)
            client.set(f"job:{job_id}:status", "completed", ex=60)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.fixture(autouse=True)
def _empty_queue(bare_redis: RedisServer) -> None:
    with bare_redis.client() as client:
        client.flushall()


def _keys(redis: RedisServer) -> list[bytes]:
    with redis.client() as client:
        return [key for key in client.keys("*") if not key.endswith((b":stats", b":workers"))]


def test_a_job_is_accepted_at_once(bare: httpx.Client, bare_redis: RedisServer) -> None:
    answer = bare.post("/predict", json=DATA)
    job_id = answer.json()["job_id"]
    assert answer.status_code == 202
    assert answer.json() == {"job_id": job_id, "status": "pending", "queue_position": 0}
    assert answer.headers["Location"] == f"/job/{job_id}"
    assert answer.headers["Retry-After"] == "1"
    with bare_redis.client() as client:
        assert client.lrange("predict_queue", 0, -1) == [job_id.encode()]
        assert client.get(f"job:{job_id}:data") == b"[[5.1,3.5,1.4,0.2]]"
        assert client.get(f"job:{job_id}:status") == b"pending"


def test_a_naive_worker_is_waited_for(bare: httpx.Client, bare_redis: RedisServer) -> None:
    worker = _work_naively(bare_redis)
    answer = bare.post("/predict", json=DATA, headers={"Prefer": "wait=20"}, timeout=30)
    worker.join()
    assert answer.status_code == 200
    assert answer.json()["result"] == {"prediction": 0}
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert answer.headers["Vary"] == "Prefer"


def test_waiting_in_vain_ends_with_202(bare: httpx.Client) -> None:
    began = time.monotonic()
    answer = bare.post("/predict", json=DATA, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert 0.9 <= time.monotonic() - began < 10


def test_a_repeated_key_makes_one_job(bare: httpx.Client, bare_redis: RedisServer) -> None:
    headers = {"Idempotency-Key": '"k-1"'}
    first, again = (bare.post("/predict", json=DATA, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["job_id"] == again.json()["job_id"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    other = bare.post("/predict", json={"data": [[1]]}, headers=headers)
    assert other.status_code == 422
    assert other.json()["type"].endswith("idempotency-conflict")
    with bare_redis.client() as client:
        assert client.llen("predict_queue") == 1


def test_a_replay_waits_for_the_first_job(bare: httpx.Client, bare_redis: RedisServer) -> None:
    headers = {"Idempotency-Key": "k-2", "Prefer": "wait=20"}
    job_id = bare.post("/predict", json=DATA, headers={"Idempotency-Key": "k-2"}).json()["job_id"]
    worker = _work_naively(bare_redis)
    answer = bare.post("/predict", json=DATA, headers=headers, timeout=30)
    worker.join()
    assert (answer.status_code, answer.json()["job_id"]) == (200, job_id)
    assert answer.headers["Idempotent-Replayed"] == "true"


def test_a_replay_tells_the_status_of_its_job(bare: httpx.Client, bare_redis: RedisServer) -> None:
    headers = {"Idempotency-Key": "k-3"}
    job_id = bare.post("/predict", json=DATA, headers=headers).json()["job_id"]
    assert bare.delete(f"/job/{job_id}").status_code == 200
    again = bare.post("/predict", json=DATA, headers=headers)
    assert (again.status_code, again.json()) == (202, {"job_id": job_id, "status": "canceled"})


def test_compressed_bodies_are_read(bare: httpx.Client) -> None:
    body = gzip.compress(orjson.dumps(DATA))
    assert bare.post("/predict", content=body, headers=JSON | {"Content-Encoding": "gzip"}).status_code == 202


def test_chunked_bodies_are_read(bare: httpx.Client) -> None:
    parts = iter([b'{"data": ', b"[[1]]}"])
    assert bare.post("/predict", content=parts, headers=JSON).status_code == 202


def test_content_type_may_be_absent_or_more_precise(bare: httpx.Client) -> None:
    body = orjson.dumps(DATA)
    assert bare.post("/predict", content=body).status_code == 202
    assert bare.post("/predict", content=body, headers={"Content-Type": "application/x+json"}).status_code == 202


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind"),
    [
        (b"", JSON, 400, "malformed-body"),
        (b"{", JSON, 400, "malformed-body"),
        (b"\xff", JSON, 400, "malformed-body"),
        (b'{"data": NaN}', JSON, 400, "malformed-body"),
        (b'{"data": ' + b"[" * 100_000, JSON, 400, "malformed-body"),
        (b'{"data": ' + b"[" * 500 + b"]" * 500 + b"}", JSON, 400, "malformed-body"),
        (b"[]", JSON, 422, "invalid-input"),
        (b"{}", JSON, 422, "invalid-input"),
        (b'{"data": 1, "priority": "high"}', JSON, 422, "invalid-input"),
        (b'{"data": 1, "deadline_seconds": 0}', JSON, 422, "invalid-input"),
        (b'{"data": 1, "model": "unknown"}', JSON, 404, "unknown-model"),
        (b'{"data": "' + b"x" * 200_000 + b'"}', JSON, 413, "body-too-large"),
        (gzip.compress(b" " * 10_000_000, mtime=0), JSON | {"Content-Encoding": "gzip"}, 413, "body-too-large"),
        (b'{"data": 1}', JSON | {"Content-Encoding": "gzip"}, 400, "malformed-body"),
        (gzip.compress(b'{"data": 1}', mtime=0)[:-3], JSON | {"Content-Encoding": "gzip"}, 400, "malformed-body"),
        (b'{"data": 1}', JSON | {"Content-Encoding": "zstd"}, 415, "unsupported-media-type"),
        (b'{"data": 1}', {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        (b'{"data": 1}', JSON | {"Idempotency-Key": "two words"}, 400, "malformed-header"),
    ],
)
def test_a_refused_request_writes_nothing(
    bare: httpx.Client, bare_redis: RedisServer, body: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = bare.post("/predict", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:inferqueue:problem:{kind}"
    assert _keys(bare_redis) == []


def test_a_chunked_body_is_cut_off_at_the_limit(bare: httpx.Client) -> None:
    parts = (b"x" * 50_000 for _ in range(10))
    assert bare.post("/predict", content=parts, headers=JSON).status_code == 413


def test_a_full_queue_refuses(bare_redis: RedisServer) -> None:
    with Proxy(bare_redis.url, QUEUE_MAX_LENGTH="2") as proxy:
        answers = [httpx.post(f"{proxy.url}/predict", json=DATA) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 503]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert "its limit is 2 (QUEUE_MAX_LENGTH)" in answers[2].json()["detail"]


def test_unknown_paths_and_methods_are_problems(bare: httpx.Client) -> None:
    nowhere, method = bare.get("/nowhere"), bare.put("/predict")
    assert (nowhere.status_code, method.status_code) == (404, 405)
    assert method.headers["Allow"] == "POST"
    assert nowhere.headers["Content-Type"] == method.headers["Content-Type"] == "application/problem+json"
    assert "error" in bare.get("/v2/nowhere").json()


def test_a_deadline_ends_a_job_that_nobody_starts(bare: httpx.Client) -> None:
    job_id = bare.post("/predict", json=DATA | {"deadline_seconds": 0.05}).json()["job_id"]
    job = bare.get(f"/job/{job_id}?wait=20", timeout=30).json()
    assert job["status"] == "expired"
    assert "deadline" in job["error"]
