from typing import Any

import httpx
import orjson
import pytest

from support.redis_servers import RedisServer

JOBS = [{"data": [[n]]} for n in range(5)]


@pytest.fixture(autouse=True)
def _empty_queue(bare_redis: RedisServer) -> None:
    with bare_redis.client() as client:
        client.flushall()


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (orjson.dumps(JOBS), "application/json"),
        (b"\n".join(map(orjson.dumps, JOBS)) + b"\n\n", "application/x-ndjson"),
        (b"\r\n".join(map(orjson.dumps, JOBS)), "application/jsonl"),
    ],
)
def test_jobs_are_accepted_in_order(bare: httpx.Client, bare_redis: RedisServer, body: bytes, media_type: str) -> None:
    answer = bare.post("/predict/batch", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 202
    job_ids = answer.json()["job_ids"]
    with bare_redis.client() as client:
        queued = [job_id.decode() for job_id in reversed(client.lrange("predict_queue", 0, -1))]
        assert queued == job_ids
        assert [client.get(f"job:{job_id}:data") for job_id in job_ids] == [orjson.dumps(job["data"]) for job in JOBS]


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({}, 422, "body"),
        ([], 422, "body"),
        ([{"data": 1}] * 1001, 422, "body"),
        ([{"data": 1}, 3], 422, "[1]"),
        ([{"data": 1}, {}], 422, "[1].data"),
        ([{"data": 1}, {"data": 2, "x": 1}], 422, "[1].x"),
    ],
)
def test_one_bad_job_refuses_all(
    bare: httpx.Client, bare_redis: RedisServer, body: Any, status: int, where: str
) -> None:
    answer = bare.post("/predict/batch", json=body)
    assert answer.status_code == status
    assert answer.json()["errors"][0]["field"] == where
    with bare_redis.client() as client:
        assert client.llen("predict_queue") == 0


def test_an_unknown_model_and_a_bad_line_are_named_by_index(bare: httpx.Client) -> None:
    unknown = bare.post("/predict/batch", json=[{"data": 1}, {"data": 1, "model": "none"}])
    assert unknown.status_code == 404
    assert unknown.json()["detail"].startswith("[1].model")
    line = bare.post("/predict/batch", content=b'{"data": 1}\n{', headers={"Content-Type": "application/jsonl"})
    assert line.status_code == 400
    assert line.json()["detail"].startswith("[1]")


def test_every_bad_job_is_named(bare: httpx.Client) -> None:
    jobs = [{"data": 1}, 3, {}, {"data": 1}, {"data": 1, "model": "none"}, {"data": 1, "deadline_seconds": -1}]
    answer = bare.post("/predict/batch", json=jobs)
    assert answer.status_code == 422
    assert "; 3 more of the jobs cannot be taken" in answer.json()["detail"]
    fields = [error["field"] for error in answer.json()["errors"]]
    assert fields == ["[1]", "[2].data", "[4].model", "[5].deadline_seconds"]
    lines = b'{"data": 1}\n{\n{"data": 2}\n[]\n'
    answer = bare.post("/predict/batch", content=lines, headers={"Content-Type": "application/jsonl"})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["[1]", "[3]"]


def test_a_repeated_key_makes_the_jobs_once(bare: httpx.Client, bare_redis: RedisServer) -> None:
    first, again = (bare.post("/predict/batch", json=JOBS, headers={"Idempotency-Key": "b"}) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    with bare_redis.client() as client:
        assert client.llen("predict_queue") == len(JOBS)


def test_a_thousand_jobs_fit(bare: httpx.Client) -> None:
    answer = bare.post("/predict/batch", json=[{"data": [[n]]} for n in range(1000)])
    assert len(set(answer.json()["job_ids"])) == 1000
