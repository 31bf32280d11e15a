"""Hundreds of queues in one operator: what a tick costs, and how soon a burst is answered."""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from inferqueue_core.connection import connect
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.api_servers import Namespace
from support.jobs import submit_jobs
from support.operators import Operator
from support.redis_servers import RedisServer
from support.waiting import wait_until

QUEUES = 200


def reconciles(operator: Operator) -> int:
    """Count all reconciliations so far."""
    text = httpx.get(operator.metrics_url).text
    lines = [line for line in text.splitlines() if line.startswith("inferqueue_operator_reconcile_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def cpu_seconds(pid: int) -> float:
    """Give the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(240)
def test_a_tick_of_two_hundred_queues_costs_half_a_second_at_most(
    namespace: Namespace, start_operator: Callable[..., Operator], redis_server: RedisServer
) -> None:
    client = connect(RedisSettings(redis_url=redis_server.url))

    def create(number: int) -> None:
        namespace.create_deployment(f"worker-{number}", replicas=1)
        spec = {"minReplicas": 1, "objective": {"maxWaitSeconds": 600}}
        namespace.create_queue(f"iris-{number}", target=f"worker-{number}", queue=f"queue-{number}", **spec)
        submit_jobs(RedisJobQueue(client, f"queue-{number}", QueuePolicy()), 20)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(QUEUES)))
    client.close()
    operator = start_operator()
    wait_until(lambda: reconciles(operator) >= 2 * QUEUES, 60, "the first ticks")
    first, cpu, began = reconciles(operator), cpu_seconds(operator.pid), time.monotonic()
    # Reading /metrics of so many queues would itself be the load: only the clock is looked at.
    wait_until(lambda: time.monotonic() - began >= 5)
    spent = cpu_seconds(operator.pid) - cpu
    ticks = (reconciles(operator) - first) / QUEUES
    each = 1000 * spent / ticks / QUEUES
    seconds = (time.monotonic() - began) / ticks
    print(f"{spent / ticks:.3f} s of CPU a tick of {QUEUES} queues, {each:.2f} ms a queue, every {seconds:.2f} s")
    # How many there are says how busy this machine is; what each of them costs is what counts.
    assert ticks >= 1
    assert spent / ticks <= 0.5


def _await_workers(namespace: Namespace, deployment: str) -> None:
    wait_until(lambda: namespace.replicas(deployment) > 0, what="workers are asked for")


def test_a_burst_into_an_empty_queue_is_answered_within_two_seconds(
    namespace: Namespace, operator: Operator, redis_server: RedisServer
) -> None:
    client = connect(RedisSettings(redis_url=redis_server.url))
    for number in range(10):
        namespace.create_deployment(f"worker-{number}")
        namespace.create_queue(f"iris-{number}", target=f"worker-{number}", queue=f"queue-{number}")
    wait_until(lambda: all(namespace.condition("Ready", f"iris-{n}")[0] == "True" for n in range(10)))
    taken = []
    for number in range(10):
        began = time.monotonic()
        submit_jobs(RedisJobQueue(client, f"queue-{number}", QueuePolicy()), 50)
        _await_workers(namespace, f"worker-{number}")
        taken.append(time.monotonic() - began)
    client.close()
    print(f"burst to /scale: median {statistics.median(taken):.3f} s, worst {max(taken):.3f} s")
    assert statistics.median(taken) <= 1
    assert max(taken) <= 2
