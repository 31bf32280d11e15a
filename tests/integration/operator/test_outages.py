"""Redis away: hold, then the fallback, then back; and an operator that is killed in the middle of it all."""

from collections.abc import Callable
from pathlib import Path

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

FALLBACK = {"afterSeconds": 2, "replicas": 3}


def test_without_redis_the_fallback_holds_from_zero_and_goes_again(
    namespace: Namespace, start_operator: Callable[..., Operator], own_redis: RedisServer
) -> None:
    start_operator(own_redis.url)
    namespace.create_deployment()
    namespace.create_queue(fallback=FALLBACK, maxReplicas=5)
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    own_redis.kill()
    wait_until(lambda: namespace.condition("Ready") == ("False", "QueueUnreachable"))
    assert namespace.replicas() == 0
    wait_until(lambda: namespace.replicas() == 3, what="the fallback")
    wait_until(lambda: namespace.condition("FallbackActive")[0] == "True")
    assert namespace.condition("ScalingActive") == ("False", "FallbackInUse")
    own_redis.start()
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    wait_until(lambda: namespace.condition("FallbackActive")[0] == "False")
    expected = ["QueueUnreachable", "ActivatedFromZero", "FallbackActivated", "QueueRecovered", "FallbackDeactivated"]
    wait_until(lambda: sorted(expected) == sorted(namespace.reasons()), what=f"events {expected}")


def test_without_redis_more_workers_than_the_fallback_stay(
    namespace: Namespace, start_operator: Callable[..., Operator], own_redis: RedisServer
) -> None:
    start_operator(own_redis.url)
    namespace.create_deployment()
    namespace.create_queue(fallback=FALLBACK, maxReplicas=5, objective={"backlogPerReplica": 1})
    queue = _queue(own_redis)
    submit_jobs(queue, 5)
    wait_until(lambda: namespace.replicas() == 5, what="five replicas")
    own_redis.kill()
    wait_until(lambda: namespace.condition("FallbackActive")[0] == "True")
    assert namespace.replicas() == 5
    own_redis.start()
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    assert namespace.replicas() == 5


def _queue(redis: RedisServer) -> RedisJobQueue:
    return RedisJobQueue(connect(RedisSettings(redis_url=redis.url)), "predict_queue", QueuePolicy())


def test_the_fallback_comes_in_time_although_the_operator_was_started_anew(
    namespace: Namespace, start_operator: Callable[..., Operator], own_redis: RedisServer
) -> None:
    first = start_operator(own_redis.url)
    namespace.create_deployment()
    namespace.create_queue(fallback={"afterSeconds": 8, "replicas": 3})
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    own_redis.kill()
    wait_until(lambda: namespace.condition("Ready") == ("False", "QueueUnreachable"))
    first.kill()
    start_operator(own_redis.url)
    wait_until(lambda: namespace.replicas() == 3, 12, "the fallback")


@pytest.mark.parametrize("end", [Operator.kill, Operator.terminate])
def test_an_operator_that_ends_in_a_spike_is_succeeded_without_a_step_back(
    namespace: Namespace,
    start_operator: Callable[..., Operator],
    queue: RedisJobQueue,
    end: Callable[[Operator], object],
    tmp_path: Path,
) -> None:
    first = start_operator()
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=10, objective={"maxWaitSeconds": 10})
    submit_jobs(queue, 100)
    wait_until(lambda: namespace.replicas() == 10, what="ten replicas")
    wait_until(lambda: namespace.status().get("memory"), what="a memory")
    end(first)
    before = namespace.get("deployments", "worker")["metadata"]["generation"]
    second = start_operator()
    submit_jobs(queue, 100)
    wait_until(lambda: namespace.status().get("backlog") == 200, what="the successor goes on")
    assert namespace.replicas() == 10
    assert namespace.get("deployments", "worker")["metadata"]["generation"] == before
    assert second.terminate() == 0
