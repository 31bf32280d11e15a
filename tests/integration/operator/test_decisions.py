"""The operator shows its last decision in Redis: at once when it changes, not with every look, and never at a price."""

from collections.abc import Callable
from typing import Any

from inferqueue_core.connection import connect
from inferqueue_core.jobs import QueueDecision
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.api_servers import Namespace
from support.jobs import submit_jobs
from support.operators import Operator
from support.redis_servers import RedisServer
from support.waiting import wait_until

KEY = "predict_queue:decision"


def decided(queue: RedisJobQueue, reason: str, desired: int) -> QueueDecision | None:
    """Give the last decision when it is this one."""
    decision = queue.observe().decision
    return (
        decision if decision is not None and (decision.reason, decision.desired_replicas) == (reason, desired) else None
    )


def test_a_decision_is_written_when_it_changes_and_not_with_every_look(
    namespace: Namespace, start_operator: Callable[..., Operator], own_redis: RedisServer
) -> None:
    queue = RedisJobQueue(connect(RedisSettings(redis_url=own_redis.url)), "predict_queue", QueuePolicy())
    start_operator(own_redis.url)
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=3, objective={"backlogPerReplica": 1})
    idle = wait_until(lambda: decided(queue, "Backlog", 0), what="the first decision")
    with own_redis.client() as client:

        def calls(command: str) -> int:
            stats: Any = client.info("commandstats")
            return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])

        looks, writes = calls("evalsha"), calls("set")
        wait_until(lambda: calls("evalsha") >= looks + 3, what="three more looks")
        assert calls("set") == writes
    assert queue.observe().decision == idle
    submit_jobs(queue, 2)
    busy = wait_until(lambda: decided(queue, "Backlog", 2), what="another decision")
    assert (busy.replicas, busy.message) == (2, "2 jobs waiting or running, 1 a replica")
    assert busy.decided_at > idle.decided_at


def test_a_decision_that_was_lost_is_written_again_and_one_of_nobody_ends(
    namespace: Namespace, start_operator: Callable[..., Operator], queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    operator = start_operator()
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=3, objective={"backlogPerReplica": 1})
    wait_until(lambda: decided(queue, "Backlog", 0), what="the first decision")
    with redis_server.client() as client:
        client.delete(KEY)
        wait_until(lambda: decided(queue, "Backlog", 0), what="the decision again")
        operator.kill()
        assert 0 < client.ttl(KEY) <= 90
        client.pexpire(KEY, 1)
    wait_until(lambda: queue.observe().decision is None, what="its end")


def test_a_redis_that_takes_no_writes_is_scaled_for_all_the_same(
    namespace: Namespace, start_operator: Callable[..., Operator], own_redis: RedisServer
) -> None:
    queue = RedisJobQueue(connect(RedisSettings(redis_url=own_redis.url)), "predict_queue", QueuePolicy())
    submit_jobs(queue, 3)
    with own_redis.client() as client:
        client.config_set("maxmemory", "1")
    start_operator(own_redis.url)
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=5, objective={"backlogPerReplica": 1})
    wait_until(lambda: namespace.replicas() == 3, what="three replicas")
    wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
    assert queue.observe().decision is None
    with own_redis.client() as client:
        client.config_set("maxmemory", "0")
    wait_until(lambda: decided(queue, "Backlog", 3), what="the decision, once there is room")
