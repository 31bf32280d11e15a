import signal
import threading

import httpx
import pytest

from inferqueue_core.connection import connect
from inferqueue_core.jobs import Completed
from inferqueue_core.models import ModelInfo
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.programs import Proxy
from support.redis_servers import RedisServer
from support.waiting import wait_until

DATA = {"data": [[1]]}


def _status(proxy: Proxy, path: str) -> int:
    return httpx.get(f"{proxy.url}{path}", timeout=30).status_code


def test_without_redis_it_serves_503_and_recovers(own_redis: RedisServer) -> None:
    own_redis.kill()
    with Proxy(own_redis.url) as proxy:
        assert _status(proxy, "/livez") == 200
        assert _status(proxy, "/health") == _status(proxy, "/readyz") == _status(proxy, "/v2/health/ready") == 503
        refused = httpx.post(f"{proxy.url}/predict", json=DATA, timeout=30)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        own_redis.start()
        wait_until(lambda: _status(proxy, "/readyz") == 200, what="readiness")
        assert httpx.post(f"{proxy.url}/predict", json=DATA).status_code == 202


def test_who_waits_hears_of_the_end_after_redis_was_away(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.config_set("appendfsync", "always")
    with Proxy(own_redis.url) as proxy:
        job_id = httpx.post(f"{proxy.url}/predict", json=DATA).json()["job_id"]
        answers: list[httpx.Response] = []

        def wait() -> None:
            answers.append(httpx.get(f"{proxy.url}/job/{job_id}?wait=50", timeout=60))

        waiter = threading.Thread(target=wait)
        waiter.start()
        gauge = "inferqueue_waiting_clients 1.0"
        wait_until(lambda: gauge in httpx.get(proxy.metrics_url).text, what="the waiting client")
        own_redis.kill()
        own_redis.start()
        connection = connect(RedisSettings(redis_url=own_redis.url))
        queue = RedisJobQueue(connection, "predict_queue", QueuePolicy())
        (job,) = wait_until(lambda: queue.claim("w", 1, 10_000).jobs)
        queue.finish([Completed(job, b"1")])
        waiter.join()
        connection.close()
    assert answers[0].json()["status"] == "completed"


def test_a_full_redis_refuses_and_writes_nothing(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url) as proxy, own_redis.client() as client:
        client.config_set("maxmemory", "1")
        answer = httpx.post(f"{proxy.url}/predict", json=DATA)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:inferqueue:problem:redis-full")
        assert client.keys("job:*") == []
        client.config_set("maxmemory", "0")
        assert httpx.post(f"{proxy.url}/predict", json=DATA).status_code == 202


def test_a_redis_that_evicts_stops_the_program(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    proxy = Proxy(own_redis.url).launch()
    try:
        assert proxy.wait() == 1
        assert "maxmemory-policy" in proxy.output
    finally:
        proxy.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_waits_at_a_shutdown_is_answered(own_redis: RedisServer, number: signal.Signals) -> None:
    with Proxy(own_redis.url) as proxy:
        answers: list[httpx.Response] = []

        def submit() -> None:
            answers.append(httpx.post(f"{proxy.url}/predict", json=DATA, headers={"Prefer": "wait=60"}, timeout=90))

        waiter = threading.Thread(target=submit)
        waiter.start()
        gauge = "inferqueue_waiting_clients 1.0"
        wait_until(lambda: gauge in httpx.get(proxy.metrics_url).text, what="the waiting client")
        proxy.send(number)
        assert proxy.wait(20) == 0
        waiter.join()
    assert answers[0].status_code == 202


def test_a_client_that_leaves_is_not_waited_for(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url) as proxy:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{proxy.url}/predict", json=DATA, headers={"Prefer": "wait=60"}, timeout=httpx.Timeout(30, read=1)
            )
        gauge = "inferqueue_waiting_clients 0.0"
        wait_until(lambda: gauge in httpx.get(proxy.metrics_url).text, what="the end of the wait")
        assert httpx.get(f"{proxy.url}/queues").json()["queues"][0]["length"] == 1


def test_a_port_that_is_taken_stops_the_program(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url) as first:
        taken = first.metrics_url.rpartition(":")[2].removesuffix("/metrics")
        for setting in ("PORT", "METRICS_PORT"):
            second = Proxy(own_redis.url, **{setting: taken}).launch()
            try:
                assert second.wait() == 1
            finally:
                second.close()


def test_a_wrong_setting_stops_the_program_with_its_name(own_redis: RedisServer) -> None:
    proxy = Proxy(own_redis.url, QUEUE_MAX_LENGTH="many").launch()
    try:
        assert proxy.wait() == 2
        assert "QUEUE_MAX_LENGTH='many'" in proxy.output
    finally:
        proxy.close()


def test_a_key_that_a_stranger_took_deafens_no_one_for_ever(own_redis: RedisServer) -> None:
    model = ModelInfo(name="late", version="1", queue="late_queue", inputs=(), outputs=())
    with Proxy(own_redis.url) as proxy, own_redis.client() as client:
        for key in ("models", "predict_queue:delayed"):
            client.set(key, "a stranger's")
        wait_until(lambda: "begins again" in proxy.output, what="the first failure")
        client.delete("models", "predict_queue:delayed")
        RedisJobQueue(client, "late_queue", QueuePolicy()).publish_model(model)
        wait_until(lambda: httpx.post(f"{proxy.url}/v2/repository/index").json(), what="the model")
        wait_until(lambda: "inferqueue_redis_up 1.0" in httpx.get(proxy.metrics_url).text, what="looks at the queue")
