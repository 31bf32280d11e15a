import httpx

from support.programs import Proxy
from support.redis_servers import RedisServer
from support.waiting import wait_until


def test_requests_submits_and_queues_are_measured(bare: httpx.Client, bare_proxy: Proxy) -> None:
    bare.post("/predict", json={"data": [[1]]})
    bare.get("/job/unknown")
    bare.get("/nowhere")
    text = httpx.get(bare_proxy.metrics_url).text
    for line in (
        'inferqueue_http_requests_total{code="202",method="POST",route="/predict"} 1.0',
        'inferqueue_http_requests_total{code="404",method="GET",route="/job/{job_id}"} 1.0',
        'inferqueue_http_requests_total{code="404",method="GET",route="other"} 1.0',
        'inferqueue_http_request_duration_seconds_count{route="/predict"} 1.0',
        'inferqueue_submits_total{outcome="accepted",queue="predict_queue"} 1.0',
        "inferqueue_redis_up 1.0",
    ):
        assert line in text.splitlines()
    length = 'inferqueue_queue_length{queue="predict_queue"} 1.0'
    wait_until(lambda: length in httpx.get(bare_proxy.metrics_url).text, what="the queue's length")
    text = httpx.get(bare_proxy.metrics_url).text
    assert 'inferqueue_queue_jobs_total{event="submitted",queue="predict_queue"} 1.0' in text.splitlines()
    assert 'inferqueue_queue_jobs_total{event="dead",queue="predict_queue"} 0.0' in text.splitlines()


def test_jobs_that_are_refused_are_counted_by_what_was_in_the_way(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url, QUEUE_MAX_LENGTH="1") as proxy:
        for _ in range(2):
            httpx.post(f"{proxy.url}/predict", json={"data": [[1]]})
        own_redis.kill()
        httpx.post(f"{proxy.url}/predict", json={"data": [[1]]}, timeout=30)
        lines = httpx.get(proxy.metrics_url).text.splitlines()
    for outcome in ("full", "unavailable"):
        assert f'inferqueue_submits_total{{outcome="{outcome}",queue="predict_queue"}} 1.0' in lines


def test_the_memory_of_redis_is_shown_while_it_answers(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.config_set("maxmemory", 50_000_000)
    with Proxy(own_redis.url) as proxy:
        most = "inferqueue_redis_memory_max_bytes 5e+07"
        wait_until(lambda: most in httpx.get(proxy.metrics_url).text, what="maxmemory")
        assert "inferqueue_redis_memory_used_bytes " in httpx.get(proxy.metrics_url).text
        own_redis.kill()
        wait_until(lambda: "inferqueue_redis_up 0.0" in httpx.get(proxy.metrics_url).text, what="the outage")
        assert "inferqueue_redis_memory" not in httpx.get(proxy.metrics_url).text
