"""A model that mixes rows for values which no trial made up: the first batch finds it, and nobody is answered wrong."""

import urllib.request
from collections.abc import Callable

import numpy as np
import orjson

from inferqueue_core.queue import RedisJobQueue
from support.jobs import read, submit_jobs
from support.programs import Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until


def alone(values: list[float]) -> object:
    row = np.array(values, np.float32)
    return (row - row.mean() if row.max() > 5000 else row).tolist()


def test_rows_that_mix_are_found_by_the_first_batch_and_all_answers_are_right(
    queue: RedisJobQueue,
    prepare: Callable[..., Worker],
    redis_server: RedisServer,
    all_ended: Callable[[list[str]], bool],
) -> None:
    rows = [[float(9000 + number if number % 3 == 0 else number), 1.0, 2.0, 3.0] for number in range(60)]
    ids = [submit_jobs(queue, data=orjson.dumps([row]))[0] for row in rows]
    worker = prepare(redis_server, PREDICTOR="support.row_functions:rarely_mixed", MODEL_NAME="rare").start()
    assert worker.told("batchable") == "True"
    ids += [submit_jobs(queue, data=orjson.dumps([row]))[0] for row in rows]
    wait_until(lambda: all_ended(ids))
    results = [orjson.loads(read(queue, job_id).result or b"null") for job_id in ids]
    assert results == [{"y": alone(row)} for row in rows * 2]

    wait_until(lambda: not queue.models()["rare/1"].batchable, what="the model to be published as not batchable")
    said = worker.line("rows of the model depend on each other: each job runs alone from now on")
    assert said is not None
    assert said["level"] == "ERROR"
    assert "900" not in str(said["reason"]) + str(said["shapes"])

    def metrics() -> str:
        with urllib.request.urlopen(worker.metrics_url, timeout=5) as answer:
            return str(answer.read().decode())

    wait_until(lambda: "inferqueue_worker_row_mismatches_total 1.0" in metrics())
    assert "inferqueue_worker_batchable 0.0" in metrics()
