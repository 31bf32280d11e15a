"""Everything but a cluster: a proxy, workers that come and go as `/scale` says, the operator, Redis."""

from functools import partial

import httpx

from inferqueue_core.queue import RedisJobQueue
from support.api_servers import Namespace
from support.kubelet import Kubelet, ProcessWorker
from support.operators import Operator
from support.programs import Proxy
from support.redis_servers import RedisServer
from support.waiting import wait_until

JOBS = 2_000


def test_a_spike_from_zero_is_worked_off_and_nobody_is_stopped_at_work(
    namespace: Namespace, hasty_operator: Operator, queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    namespace.create_deployment()
    namespace.create_queue(maxReplicas=3, objective={"backlogPerReplica": 500})
    start = partial(ProcessWorker, redis_server.url)
    with Proxy(redis_server.url) as proxy, Kubelet(namespace, redis_server, start) as kubelet:
        wait_until(lambda: namespace.condition("Ready") == ("True", "Reconciled"))
        ids = _post(proxy.url)
        wait_until(lambda: namespace.replicas() > 0, what="workers are asked for")
        wait_until(lambda: queue.observe().counters.get("completed") == JOBS, 90, "all jobs completed")
        wait_until(lambda: namespace.replicas() == 0 and kubelet.running == 0, 60, "workers go")
        assert {job.status for job in queue.jobs(ids) if job} == {"completed"}
        assert [name for name, busy in kubelet.deleted if busy] == []
        assert queue.observe().counters.get("retried", 0) == 0


def _post(url: str) -> list[str]:
    body = [{"data": [[5.1, 3.5, 1.4, 0.2]]}] * 1_000
    ids: list[str] = []
    for _ in range(JOBS // len(body)):
        answer = httpx.post(f"{url}/predict/batch", json=body, timeout=30)
        assert answer.status_code == 202, answer.text
        ids += answer.json()["job_ids"]
    return ids
