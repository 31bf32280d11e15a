import httpx
import pytest

from support.redis_servers import RedisServer


def _submit(client: httpx.Client) -> str:
    return str(client.post("/predict", json={"data": [[1]]}).json()["job_id"])


def test_a_waiting_job_is_shown(bare: httpx.Client) -> None:
    job_id = _submit(bare)
    job = bare.get(f"/job/{job_id}").json()
    assert job["created_at"].endswith("Z")
    assert job | {"created_at": None} == {
        "job_id": job_id,
        "status": "pending",
        "result": None,
        "error": None,
        "created_at": None,
        "started_at": None,
        "completed_at": None,
        "attempts": 0,
        "model": None,
    }


@pytest.mark.parametrize("job_id", ["00000000000070008000000000000000", "no id", "%00", "x" * 200])
def test_unknown_and_malformed_ids_are_not_found(bare: httpx.Client, job_id: str) -> None:
    for answer in (bare.get(f"/job/{job_id}"), bare.delete(f"/job/{job_id}")):
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_line_end_makes_an_id_malformed(bare: httpx.Client) -> None:
    assert "is not a job id" in bare.get("/job/id%0A").json()["detail"]


def test_a_strangers_id_that_tells_no_possible_time(bare: httpx.Client, bare_redis: RedisServer) -> None:
    job_id = "ffffffffffff70008000000000000000"
    with bare_redis.client() as client:
        client.set(f"job:{job_id}:status", "pending", ex=60)
    assert bare.get(f"/job/{job_id}").json()["created_at"] is None


def test_a_waiting_job_is_canceled_once(bare: httpx.Client) -> None:
    job_id = _submit(bare)
    first, again = bare.delete(f"/job/{job_id}"), bare.delete(f"/job/{job_id}")
    assert (first.status_code, first.json()["status"]) == (200, "canceled")
    assert (again.status_code, again.json()["type"]) == (409, "urn:inferqueue:problem:job-ended")
    assert bare.get(f"/job/{job_id}").json()["status"] == "canceled"


def test_a_running_job_is_asked_to_stop(bare: httpx.Client, bare_redis: RedisServer) -> None:
    job_id = _submit(bare)
    with bare_redis.client() as client:
        client.set(f"job:{job_id}:status", "processing", ex=60)
    answer = bare.delete(f"/job/{job_id}")
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)


def test_waiting_ends_when_the_job_does(bare: httpx.Client, bare_redis: RedisServer) -> None:
    job_id = _submit(bare)
    with bare_redis.client() as client:
        client.set(f"job:{job_id}:status", "failed", ex=60)
        client.set(f"job:{job_id}:error", "no luck", ex=60)
    job = bare.get(f"/job/{job_id}", headers={"Prefer": "wait=20"}).json()
    assert (job["status"], job["error"]) == ("failed", "no luck")


def test_waiting_in_vain_shows_the_job_as_it_is(bare: httpx.Client) -> None:
    answer = bare.get(f"/job/{_submit(bare)}", params={"wait": "0.2"})
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


def test_a_wait_that_is_no_time_is_refused(bare: httpx.Client) -> None:
    answer = bare.get(f"/job/{_submit(bare)}", params={"wait": "soon"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "wait")


def test_a_job_with_a_status_in_a_strangers_words_is_under_way(bare: httpx.Client, bare_redis: RedisServer) -> None:
    with bare_redis.client() as client:
        client.set("job:odd:status", "resting", ex=60)
    assert bare.get("/job/odd").json()["status"] == "processing"
    assert bare.get(f"/job/{_submit(bare)}").status_code == 200


def test_queues_are_listed(bare: httpx.Client) -> None:
    _submit(bare)
    (queue,) = bare.get("/queues").json()["queues"]
    assert queue["name"] == "predict_queue"
    assert queue["length"] >= 1
    assert queue["oldest_age_seconds"] >= 0
    assert queue["counters"]["submitted"] >= 1
    assert queue["workers"] == []
    assert queue["decision"] is None


def test_the_last_decision_is_shown_with_its_queue(bare: httpx.Client, bare_redis: RedisServer) -> None:
    decision = '{"desired_replicas":3,"replicas":1,"reason":"Deadline","message":"9 jobs wait","decided_at":1500}'
    with bare_redis.client() as client:
        client.set("predict_queue:decision", decision, ex=60)
        (queue,) = bare.get("/queues").json()["queues"]
        client.set("predict_queue:decision", "scaled by hand", ex=60)
        (unread,) = bare.get("/queues").json()["queues"]
        client.delete("predict_queue:decision")
    assert queue["decision"] == {
        "desired_replicas": 3,
        "replicas": 1,
        "reason": "Deadline",
        "message": "9 jobs wait",
        "decided_at": "1970-01-01T00:00:01.500000Z",
    }
    assert unread["decision"] is None
