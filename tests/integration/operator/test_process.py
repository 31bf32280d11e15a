"""The operator as a process: probes, metrics, an orderly end, and settings that are wrong."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx

from support.api_servers import Namespace
from support.operators import Operator
from support.redis_servers import RedisServer
from support.waiting import wait_until


def test_alive_and_ready_although_redis_is_down(
    namespace: Namespace, start_operator: Callable[..., Operator], own_redis: RedisServer
) -> None:
    operator = start_operator(own_redis.url)
    namespace.create_deployment()
    namespace.create_queue()
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    own_redis.kill()
    wait_until(lambda: namespace.condition("Ready") == ("False", "QueueUnreachable"))
    assert 'result="unreadable"' in httpx.get(operator.metrics_url).text
    assert httpx.get(f"{operator.health_url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{operator.health_url}/readyz").status_code == 200


def test_metrics(namespace: Namespace, operator: Operator) -> None:
    namespace.create_deployment(replicas=1)
    namespace.create_queue(minReplicas=1)
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    labels = f'{{name="iris",namespace="{namespace.name}"}}'
    text = httpx.get(operator.metrics_url).text
    assert f"inferqueue_operator_current_replicas{labels} 1.0" in text
    assert f"inferqueue_operator_queue_backlog{labels} 0.0" in text
    assert f"inferqueue_operator_objective_max_wait_seconds{labels} 30.0" in text
    assert f"inferqueue_operator_fallback_active{labels} 0.0" in text
    namespace.delete("inferencequeues", "iris")
    wait_until(lambda: "queue_backlog{" not in httpx.get(operator.metrics_url).text, what="its gauges go with it")


def test_an_orderly_end(namespace: Namespace, operator: Operator) -> None:
    namespace.create_deployment()
    namespace.create_queue()
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    assert operator.terminate(10) == 0
    assert operator.line("stopped") is not None
    assert "Traceback" not in operator.output


def test_a_wrong_setting_is_named() -> None:
    command = [sys.executable, "-m", "inferqueue_operator", "--redis-url", "http://nowhere"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=dict(os.environ))
    assert ended.returncode == 2
    assert "REDIS_URL: scheme 'http' is unknown" in ended.stderr


def test_a_port_that_is_taken_ends_the_program(
    namespace: Namespace, operator: Operator, redis_server: RedisServer, tmp_path: Path
) -> None:
    port = operator.metrics_url.split(":")[2].split("/")[0]
    with closing(Operator(redis_server.url, namespace, tmp_path, METRICS_PORT=port).launch()) as second:
        assert second.wait() != 0
        assert "METRICS_PORT cannot be listened on" in second.output
