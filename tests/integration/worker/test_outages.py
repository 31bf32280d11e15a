"""Redis comes late, goes, and comes back: the worker goes on by itself."""

from collections.abc import Callable

import httpx
import pytest

from inferqueue_core.connection import connect
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import submit_jobs
from support.ports import free_port
from support.programs import HastyWorker, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

Prepare = Callable[..., Worker]


def queue_on(redis: RedisServer) -> RedisJobQueue:
    return RedisJobQueue(connect(RedisSettings(redis_url=redis.url)), "predict_queue", QueuePolicy(), patience=10)


def completed(queue: RedisJobQueue) -> int:
    return queue.observe().counters.get("completed", 0)


def test_a_worker_waits_for_a_redis_that_comes_later(own_redis: RedisServer, prepare: Prepare) -> None:
    own_redis.kill()
    worker = prepare(own_redis).launch()
    wait_until(lambda: worker.line("waiting for Redis"))
    own_redis.start()
    queue = queue_on(own_redis)
    submit_jobs(queue, data=b"[1]")
    wait_until(lambda: completed(queue) == 1)


def test_a_worker_whose_redis_is_long_in_coming_is_alive_and_not_ready(
    own_redis: RedisServer, prepare: Prepare
) -> None:
    own_redis.kill()
    port = free_port()
    worker = prepare(own_redis, HastyWorker, METRICS_PORT=str(port)).launch()
    wait_until(lambda: worker.line("waiting for Redis"))
    assert httpx.get(f"http://127.0.0.1:{port}/livez", timeout=30).status_code == 200
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503


def test_a_redis_that_is_killed_under_load_loses_no_job(own_redis: RedisServer, prepare: Prepare) -> None:
    queue = queue_on(own_redis)
    prepare(own_redis, LEASE_SECONDS="1").start()
    ids = submit_jobs(queue, 200, b"[3000]")
    # AOF everysec: what was acknowledged within the last second may be gone with a host, not with a killed process.
    wait_until(lambda: completed(queue) > 5)
    own_redis.kill()
    own_redis.start()
    wait_until(lambda: all(job is not None and job.status == "completed" for job in queue.jobs(ids)), timeout=60)
    assert completed(queue) == 200
    assert queue.observe().in_flight == 0


def test_an_idle_worker_hears_of_work_after_an_outage(own_redis: RedisServer, prepare: Prepare) -> None:
    queue = queue_on(own_redis)
    worker = prepare(own_redis).start()
    own_redis.kill()
    wait_until(lambda: worker.line("heartbeat failed"))
    own_redis.start()
    submit_jobs(queue, data=b"[1]")
    wait_until(lambda: completed(queue) == 1)


def test_a_redis_that_evicts_is_refused_in_one_line(prepare: Prepare) -> None:
    with RedisServer("--maxmemory-policy", "allkeys-lru") as redis:
        worker = prepare(redis).launch()
        assert worker.wait() == 1
        (line,) = worker.output.strip().splitlines()
        assert "CONFIG SET maxmemory-policy noeviction" in line


@pytest.mark.parametrize(
    ("key", "message"), [("workers", "heartbeat failed"), ("retired", "a claim could not be processed")]
)
def test_a_failure_that_nobody_foresaw_is_outlived(
    own_redis: RedisServer, prepare: Prepare, key: str, message: str
) -> None:
    """Somebody else writes one of our keys, with a type that makes every script on it fail."""
    queue = queue_on(own_redis)
    with own_redis.client() as client:
        client.set(f"predict_queue:{key}", "mine")
        worker = prepare(own_redis).start()
        wait_until(lambda: worker.line(message))
        client.delete(f"predict_queue:{key}")
    submit_jobs(queue, data=b"[1]")
    wait_until(lambda: completed(queue) == 1 and len(queue.observe().workers) == 1)


def test_a_redis_that_begins_to_refuse_the_login_ends_the_worker(own_redis: RedisServer, prepare: Prepare) -> None:
    """Somebody changed the password; a supervisor starts the worker again with the new one."""
    worker = prepare(own_redis).start()
    with own_redis.client() as client:
        client.config_set("requirepass", "new")
        client.client_kill_filter(skipme=True)
        assert worker.wait() == 1
    assert "check REDIS_USERNAME, REDIS_PASSWORD" in worker.output
