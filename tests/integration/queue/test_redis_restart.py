"""Redis killed with SIGKILL and started again under load: every acknowledged job ends exactly once."""

import time
from pathlib import Path

import redis

from inferqueue_core.connection import connect
from inferqueue_core.jobs import FinishOutcome
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
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
from support.jobs import claim, complete, submit_jobs
from support.redis_servers import RedisServer
from support.waiting import wait_until


def test_nothing_is_lost_and_everyone_finds_the_way_back(own_redis: RedisServer, tmp_path: Path) -> None:
    plan = Plan(own_redis.url, lease=0.6, patience=30, slow_share=0.005, naive_share=0)
    queue = plan.queue()
    jobs = 600
    producers = Crowd(3, lambda n: producer_process(plan, tmp_path, jobs, n))
    workers = Crowd(3, lambda n: worker_process(plan, n))
    with crowds(producers, workers):
        for share in (0.2, 0.5, 0.8):
            wanted = round(3 * jobs * share)
            wait_until(lambda: len(acknowledged_ids(tmp_path)) >= wanted, what=f"{wanted} jobs")  # noqa: B023
            own_redis.kill()
            own_redis.start()
        wait_until(lambda: all(process.exitcode == 0 for process in producers.members), what="end of producers")
        wait_until(lambda: all_have_ended(queue), what="end of all jobs")
        assert [process.exitcode for process in workers.members] == [None] * 3, "a worker did not survive"
    ids = acknowledged_ids(tmp_path)
    assert len(ids) == 3 * jobs
    check_promises(own_redis, queue, ids)
    assert queue.observe().counters["completed"] == 3 * jobs


def test_a_worker_finishes_what_it_claimed_before(own_redis: RedisServer) -> None:
    with connect(RedisSettings(redis_url=own_redis.url)) as client:
        queue = RedisJobQueue(client, "predict_queue", QueuePolicy(lease=3), patience=30)
        submit_jobs(queue, 3)
        jobs = claim(queue)
        own_redis.kill()
        wait_for_the_end_of(jobs_lease=3)
        own_redis.start()
        # The leases ran out while Redis was away; its reaper leaves the living workers the time to say so.
        assert queue.reap().put_back == 0
        assert complete(queue, jobs) == [FinishOutcome.STORED] * 3


def wait_for_the_end_of(jobs_lease: float) -> None:
    end = time.monotonic() + jobs_lease
    wait_until(lambda: time.monotonic() >= end)


def test_scripts_are_sent_again_to_a_redis_that_forgot_them(queue: RedisJobQueue, raw: redis.Redis) -> None:
    submit_jobs(queue)
    raw.script_flush()
    assert len(claim(queue)) == 1
    raw.script_flush()
    assert queue.observe().in_flight == 1
