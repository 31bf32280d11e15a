"""A result has a limit: what is larger fails its job once, with a reason, and costs nobody else anything."""

import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from inferqueue_core.connection import connect
from inferqueue_core.jobs import JobStatus
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import read, status, submit_jobs
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def strict_redis() -> Iterator[RedisServer]:
    """A Redis that takes no value above 1 MiB, the least that it lets anybody ask for."""
    with RedisServer("--proto-max-bulk-len", "1mb") as server:
        yield server


def test_a_result_above_the_limit_fails_with_both_numbers(queue: RedisJobQueue, start: Start) -> None:
    start(MODEL_NAME="filling", MAX_RESULT_BYTES="1000000")
    large, small = submit_jobs(queue, data=b"[2000000]") + submit_jobs(queue, data=b"[3]")
    wait_until(lambda: status(queue, small) is JobStatus.COMPLETED)
    job = read(queue, large)
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert "8,000,001 bytes are more than 1,000,000, the limit (MAX_RESULT_BYTES)" in (job.error or "")
    assert read(queue, small).result == b'{"y":[1.5,1.5,1.5]}'


def test_a_result_that_redis_refuses_ends_its_job(strict_redis: RedisServer, prepare: Start) -> None:
    queue = RedisJobQueue(connect(RedisSettings(redis_url=strict_redis.url)), "predict_queue", QueuePolicy())
    prepare(strict_redis, MODEL_NAME="filling").start()
    ids = [*submit_jobs(queue, data=b"[2000000]"), *submit_jobs(queue, 3, b"[3]")]
    wait_until(lambda: all(status(queue, job_id).is_final for job_id in ids))
    assert [status(queue, job_id) for job_id in ids] == [JobStatus.FAILED] + [JobStatus.COMPLETED] * 3
    assert "the result is too large for Redis" in (read(queue, ids[0]).error or "")
    assert queue.observe().in_flight == 0


def test_a_limit_above_that_of_redis_is_refused_in_one_line(prepare: Start, own_redis: RedisServer) -> None:
    worker = prepare(own_redis, MAX_RESULT_BYTES="536870913").launch()
    assert worker.wait() == 2
    (line,) = worker.output.strip().splitlines()
    assert line.startswith("MAX_RESULT_BYTES='536870913': Redis takes no value above 536,870,912 bytes")


def test_one_who_asks_for_too_much_is_not_noticed_by_the_others(prepare: Start, own_redis: RedisServer) -> None:
    worker = prepare(own_redis, MODEL_NAME="filling", MAX_RESULT_BYTES="1000000", RUNNERS="2").start()
    stop, hostile = threading.Event(), []
    with Proxy(own_redis.url) as proxy, httpx.Client(base_url=proxy.url, timeout=60) as http:
        wait_until(lambda: http.get("/v2/models/filling/ready").is_success)

        def ask(count: int) -> httpx.Response:
            inputs = [{"name": "n", "shape": [1], "datatype": "INT64", "data": [count]}]
            return http.post("/v2/models/filling/infer", json={"inputs": inputs})

        def ask_for_too_much() -> None:
            while not stop.is_set():
                hostile.append(ask(5_000_000))

        thread = threading.Thread(target=ask_for_too_much)
        thread.start()
        try:
            wrong: list[str] = []
            goods = [threading.Thread(target=_ask_well, args=(ask, wrong)) for _ in range(10)]
            for good in goods:
                good.start()
            for good in goods:
                good.join()
        finally:
            stop.set()
            thread.join()
    assert wrong == []
    assert hostile
    assert {answer.status_code for answer in hostile} == {500}
    assert all("MAX_RESULT_BYTES" in answer.text for answer in hostile)
    assert worker.terminate() == 0


def _ask_well(ask: Callable[[int], httpx.Response], wrong: list[str]) -> None:
    for count in range(1, 21):
        answer = ask(count)
        if answer.status_code != 200 or answer.json()["outputs"][0]["data"] != [1.5] * count:
            wrong.append(answer.text[:200])
