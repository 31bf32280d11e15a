"""Runs longer than a lease, canceled, past their time; workers retired; jobs that kill."""

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import redis

from inferqueue_core.jobs import JobStatus
from inferqueue_core.keys import IDLE
from inferqueue_core.queue import RedisJobQueue
from support.jobs import read, status, submit_jobs
from support.programs import Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

LONG = b"[1000000000]"
Start = Callable[..., Worker]
Ended = Callable[[list[str]], bool]


def result(queue: RedisJobQueue, job_id: str) -> object:
    text = read(queue, job_id).result
    assert text is not None
    return orjson.loads(text)


def test_a_run_longer_than_its_lease_runs_once(queue: RedisJobQueue, start: Start, all_ended: Ended) -> None:
    start(LEASE_SECONDS="1.5")
    start(LEASE_SECONDS="1.5")
    (job_id,) = submit_jobs(queue, data=b"[3000000]")
    wait_until(lambda: all_ended([job_id]))
    assert (status(queue, job_id), read(queue, job_id).attempts) == (JobStatus.COMPLETED, 1)
    counters = queue.observe().counters
    assert "retried" not in counters
    assert "stale" not in counters


def test_a_running_job_is_canceled_within_about_a_second(queue: RedisJobQueue, start: Start) -> None:
    start()
    (job_id,) = submit_jobs(queue, data=LONG)
    wait_until(lambda: status(queue, job_id) is JobStatus.PROCESSING)
    began = time.monotonic()
    assert queue.cancel(job_id).kind == "requested"
    wait_until(lambda: status(queue, job_id) is JobStatus.CANCELED)
    assert time.monotonic() - began < 3
    (next_id,) = submit_jobs(queue, data=b"[1]")
    wait_until(lambda: status(queue, next_id) is JobStatus.COMPLETED)


def test_a_run_past_its_time_is_tried_again_and_then_buried(queue: RedisJobQueue, start: Start) -> None:
    start(PREDICTION_TIMEOUT="1", MAX_ATTEMPTS="2")
    slow, fast = submit_jobs(queue, data=LONG) + submit_jobs(queue, data=b"[5]")
    wait_until(lambda: status(queue, slow) is JobStatus.FAILED)
    assert result(queue, fast) == {"y": 5}
    assert read(queue, fast).attempts == 1
    job = read(queue, slow)
    assert (job.attempts, job.error) == (2, "it ran longer than 1 s (PREDICTION_TIMEOUT)")
    assert [letter.job_id for letter in queue.dead_letters()] == [slow]


def test_a_retired_worker_takes_nothing_until_it_is_called_back(queue: RedisJobQueue, start: Start) -> None:
    start(WORKER_NAME="old")
    wait_until(lambda: [worker.name for worker in queue.observe().workers] == ["old"])
    assert queue.retire(["old"]) == {"old"}
    (job_id,) = submit_jobs(queue, data=b"[1]")
    other = start(WORKER_NAME="young")
    wait_until(lambda: status(queue, job_id) is JobStatus.COMPLETED)
    assert read(queue, job_id).worker == "young"
    other.terminate()
    (job_id,) = submit_jobs(queue, data=b"[1]")
    queue.unretire(["old"])
    wait_until(lambda: status(queue, job_id) is JobStatus.COMPLETED)
    assert read(queue, job_id).worker == "old"


def test_a_worker_says_when_it_has_nothing_more_to_do(
    queue: RedisJobQueue, start: Start, redis_server: RedisServer
) -> None:
    start()
    with redis.Redis.from_url(redis_server.url) as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(queue.keys.wake)
        wait_until(lambda: listener.get_message() is None and client.pubsub_numsub(queue.keys.wake)[0][1] == 1)
        (job_id,) = submit_jobs(queue, data=LONG)
        wait_until(lambda: queue.observe().workers[0].report.in_flight == 1, what="a beat that tells of the job")
        queue.cancel(job_id)
        wait_until(lambda: (message := listener.get_message()) and message["data"] == IDLE, what="its word")
    assert queue.observe().workers[0].report.in_flight == 0
    assert status(queue, job_id) is JobStatus.CANCELED


def test_a_naive_producer_is_answered(redis_server: RedisServer, queue: RedisJobQueue, start: Start) -> None:
    start(MODEL_NAME="double")
    with redis_server.client() as client:
        for job_id, data in (("good", "[[1, 2]]"), ("bad", "[[1, 2, 3]]"), ("broken", "{")):
            client.set(f"job:{job_id}:data", data, ex=60)
            client.lpush("predict_queue", job_id)
        wait_until(lambda: all(client.exists(f"job:{job_id}:status") for job_id in ("good", "bad", "broken")))
        wait_until(lambda: client.get("job:broken:status") == b"failed")
        assert client.get("job:good:status") == b"completed"
        assert orjson.loads(client.get("job:good:result") or b"") == {"y": [2.0, 4.0]}
        assert client.get("job:bad:status") == b"failed"
        assert b"takes shape [-1, 2]" in (client.get("job:bad:error") or b"")
        assert client.get("job:good:data") is None


def test_a_model_is_published_and_outlives_its_worker(queue: RedisJobQueue, start: Start) -> None:
    worker = start(MODEL_NAME="double")
    wait_until(lambda: "double/1" in queue.models())
    worker.terminate()
    model = queue.models()["double/1"]
    assert (model.queue, model.version, model.batchable) == ("predict_queue", "1", True)
    assert model.digest.startswith("sha256:")


def test_metrics_tell_what_was_done(queue: RedisJobQueue, start: Start, all_ended: Ended) -> None:
    worker = start(MODEL_NAME="double")
    ids = submit_jobs(queue, 5, b"[[1, 2]]") + submit_jobs(queue, 2, b"[]")
    wait_until(lambda: all_ended(ids))

    def metrics() -> str:
        with urllib.request.urlopen(worker.metrics_url, timeout=5) as answer:
            return str(answer.read().decode())

    wait_until(lambda: 'inferqueue_worker_jobs_total{outcome="failed"} 2.0' in metrics())
    text = metrics()
    assert 'inferqueue_worker_jobs_total{outcome="completed"} 5.0' in text
    assert "inferqueue_worker_batch_rows_sum 5.0" in text
    assert 'inferqueue_worker_run_seconds_count{phase="run"}' in text
    assert re.search(r'inferqueue_worker_model_info\{digest="sha256:\w+",model="double",version="1"\} 1.0', text)
    wait_until(lambda: "inferqueue_worker_in_flight 0.0" in metrics())


def test_logs_hold_no_payloads(queue: RedisJobQueue, start: Start, all_ended: Ended) -> None:
    worker = start(MODEL_NAME="double")
    ids = submit_jobs(queue, 2, b'[["secret", 1]]') + submit_jobs(queue, 1, b"[[1, 2]]")
    wait_until(lambda: all_ended(ids))
    wait_until(lambda: worker.line("job failed"))
    assert "secret" not in worker.output


def test_a_predictor_of_ones_own_serves(queue: RedisJobQueue, start: Start, all_ended: Ended) -> None:
    worker = start(PREDICTOR="support.predictors:Negative", MODEL_NAME="own")
    good, bad = submit_jobs(queue, data=b"[1, 2]") + submit_jobs(queue, data=b"[13]")
    wait_until(lambda: all_ended([good, bad]))
    assert worker.told("batchable") == "True"
    assert result(queue, good) == [{"negative": -1.0}, {"negative": -2.0}]
    assert read(queue, bad).error == "13 brings bad luck"


def test_a_job_that_kills_its_worker_takes_no_other_with_it(
    queue: RedisJobQueue, start: Start, prepare: Callable[..., Worker], redis_server: RedisServer, all_ended: Ended
) -> None:
    settings = {"PREDICTOR": "support.predictors:Negative", "LEASE_SECONDS": "0.3"}
    innocent = submit_jobs(queue, 20, b"[1]")
    (culprit,) = submit_jobs(queue, data=b"[666]")
    innocent += submit_jobs(queue, 20, b"[2]")
    for _ in range(3):
        worker = prepare(redis_server, **settings).launch()
        assert worker.wait() == 66
    prepare(redis_server, **settings).launch()
    wait_until(lambda: all_ended([*innocent, culprit]))
    assert {job.status for job in queue.jobs(innocent) if job} == {JobStatus.COMPLETED}
    dead = read(queue, culprit)
    assert (dead.status, dead.attempts) == (JobStatus.FAILED, 3)
    assert "its worker vanished at each of 3 attempts" in (dead.error or "")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_a_worker_with_iris_takes_little_memory(
    redis_server: RedisServer, queue: RedisJobQueue, all_ended: Ended
) -> None:
    with Worker(redis_server.url) as worker:
        ids = submit_jobs(queue, 2000, b"[[5.1, 3.5, 1.4, 0.2]]")
        wait_until(lambda: all_ended(ids))
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{worker.pid}/status").read_text())
        assert found is not None
        assert int(found[1]) < 150 * 1024


def test_data_that_only_redis_could_hold_harms_nobody(
    redis_server: RedisServer, queue: RedisJobQueue, start: Start, all_ended: Ended
) -> None:
    start(MODEL_NAME="double")
    evil = [b"", b"\x00IQ1", b"\xff" * 9, b"[" * 100_000, b"[" * 900 + b"]" * 900, b'{"x": {"x": {}}}', b"1e999"]
    ids = [submit_jobs(queue, data=data)[0] for data in evil]
    with redis_server.client() as client:
        client.lpush("predict_queue", "no-such-job", b"\xff\xfe", "")
        client.set(f"job:{ids[0]}:note", "a key of somebody else's", ex=60)
    (good,) = submit_jobs(queue, data=b"[[1, 2]]")
    wait_until(lambda: all_ended([*ids, good]))
    assert status(queue, good) is JobStatus.COMPLETED
    assert {status(queue, job_id) for job_id in ids} == {JobStatus.FAILED}
