"""Chaos with the real worker on the Iris model: killed at random, some jobs slower than their lease."""

import contextlib
import json
import os
import random
from pathlib import Path

import pytest

from inferqueue_core.ids import new_job_id
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from support.chaos import all_have_ended, check_promises
from support.jobs import submit_jobs
from support.programs import Worker
from support.redis_servers import RedisServer
from support.slow_predictor import SLOW
from support.waiting import wait_until

WORKERS, KILLS, JOBS_BETWEEN = 3, 6, 100
LEASE = 0.8
SETOSA = [5.1, 3.5, 1.4, 0.2]


@pytest.mark.timeout(90)
def test_killed_workers_lose_nothing(redis_server: RedisServer) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"CHAOS_SEED={seed}")
    rng = random.Random(seed)
    settings = {
        "LEASE_SECONDS": str(LEASE),
        "MAX_ATTEMPTS": "100",
        "PREDICTOR": "support.slow_predictor:make",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    ids: list[str] = []
    with redis_server.client() as client, contextlib.ExitStack() as programs:
        queue = RedisJobQueue(client, "predict_queue", QueuePolicy(lease=LEASE, max_length=0))

        def submit(count: int) -> None:
            for _ in range(count):
                row = [SLOW] * 4 if rng.random() < 0.02 else SETOSA
                data = json.dumps([row]).encode()
                if rng.random() < 0.5:
                    ids.extend(submit_jobs(queue, data=data))
                    continue
                job_id = new_job_id()
                client.set(f"job:{job_id}:data", data, ex=600)
                client.set(f"job:{job_id}:status", "pending", ex=600)
                client.lpush("predict_queue", job_id)
                ids.append(job_id)

        def start() -> Worker:
            worker = Worker(redis_server.url, **settings)
            programs.callback(worker.close)
            return worker.launch()

        workers = [start() for _ in range(WORKERS)]
        for _ in range(KILLS):
            submit(JOBS_BETWEEN)
            some = rng.randrange(JOBS_BETWEEN)
            wait_until(lambda: queue.observe().length <= some or queue.observe().in_flight > 0)  # noqa: B023
            victim = rng.randrange(WORKERS)
            wait_until(lambda: workers[victim].line("ready"))  # noqa: B023
            workers[victim].kill()
            workers[victim] = start()
        wait_until(lambda: all_have_ended(queue), what="end of all jobs")
        assert [worker.process.poll() for worker in workers if worker.process] == [None] * WORKERS
    check_promises(redis_server, queue, ids, recorded=False)
    observation = queue.observe()
    assert observation.counters["completed"] == len(ids), "a job was finished twice"
    (first,) = queue.jobs(ids[:1])
    assert first is not None
    assert first.result is not None
    assert "class_name" in json.loads(first.result)
