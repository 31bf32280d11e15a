"""Pods that could never be made are given up freely."""

from inferqueue_core.queue import RedisJobQueue
from support.api_servers import Namespace
from support.jobs import submit_jobs
from support.operators import Operator
from support.waiting import wait_until


def test_a_deployment_that_a_quota_keeps_small_is_asked_for_less_again(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue
) -> None:
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=9, objective={"backlogPerReplica": 1})
    job_ids = submit_jobs(queue, 9)
    wait_until(lambda: namespace.replicas() == 9, what="nine replicas")
    for job_id in job_ids[4:]:
        queue.cancel(job_id)
    status = {"observedGeneration": namespace.get("deployments", "worker")["metadata"]["generation"]}
    namespace.patch("deployments", "worker", {"status": status | {"replicas": 0, "updatedReplicas": 0}}, "status")
    wait_until(lambda: namespace.replicas() == 4, 60, "four replicas")
