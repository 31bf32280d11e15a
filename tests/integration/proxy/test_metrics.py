import httpx

from support.programs import Proxy
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
