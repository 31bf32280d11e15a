"""Chaos: producers and workers are killed at random; no acknowledged job is lost, none gets two results."""

import os
import random
import time
from pathlib import Path

import pytest

from support.chaos import (
    Crowd,
    Plan,
    acknowledged_ids,
    all_have_ended,
    check_promises,
    crowds,
    producer_process,
    worker_process,
)
from support.redis_servers import RedisServer

PRODUCERS, WORKERS = 2, 4


def run_chaos(server: RedisServer, folder: Path, jobs: int, pause: tuple[float, float], patience: float) -> None:
    """Kill a random process after every `pause` until `jobs` are acknowledged and all have ended."""
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"CHAOS_SEED={seed}")
    rng = random.Random(seed)
    plan = Plan(server.url)
    queue = plan.queue()
    producers = Crowd(PRODUCERS, lambda n: producer_process(plan, folder, jobs // 10, seed + n))
    workers = Crowd(WORKERS, lambda n: worker_process(plan, n))
    deadline = time.monotonic() + patience
    kills = 0
    with crowds(producers, workers):
        while producers.members or not all_have_ended(queue):
            assert time.monotonic() < deadline, f"not done after {kills} kills: {queue.observe()}"
            time.sleep(rng.uniform(*pause))
            if producers.members and len(acknowledged_ids(folder)) >= jobs:
                producers.stop()
            producers.keep_up()
            workers.keep_up()
            crowd = producers if producers.members and rng.random() < 0.2 else workers
            crowd.kill(rng.randrange(len(crowd.members)))
            kills += 1
    ids = acknowledged_ids(folder)
    counters = queue.observe().counters
    print(f"{len(ids)} jobs, {kills} kills, {counters.get('retried', 0)} retries, {counters.get('stale', 0)} stale")
    assert len(ids) >= jobs
    check_promises(server, queue, ids)


@pytest.mark.timeout(90)
def test_chaos(redis_server: RedisServer, tmp_path: Path) -> None:
    run_chaos(redis_server, tmp_path, jobs=1000, pause=(0.1, 0.3), patience=80)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_chaos_with_twenty_thousand_jobs(redis_server: RedisServer, tmp_path: Path) -> None:
    run_chaos(redis_server, tmp_path, jobs=20_000, pause=(0.3, 0.3), patience=850)
