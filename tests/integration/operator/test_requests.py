"""What the operator asks of the API server is what its Role allows: no less, and no more."""

from functools import partial

import yaml

from inferqueue_core.queue import RedisJobQueue
from support.api_servers import Asked, Namespace
from support.jobs import submit_jobs
from support.kubelet import Kubelet, ThreadWorker
from support.manifests import ROLE
from support.operators import Operator
from support.redis_servers import RedisServer
from support.waiting import wait_until


def test_every_rule_is_needed_and_enough(
    namespace: Namespace, operator: Operator, queue: RedisJobQueue, redis_server: RedisServer
) -> None:
    namespace.create_deployment()
    namespace.create_queue()
    worker = partial(ThreadWorker, redis_server.url, seconds=0.05)
    with Kubelet(namespace, redis_server, worker) as kubelet:
        submit_jobs(queue, 20)
        wait_until(lambda: kubelet.running > 0, what="workers come")
        wait_until(lambda: kubelet.running == 0, 60, "workers go")
        wait_until(lambda: "ScaledToZero" in namespace.reasons(), what="the last event")
    role = yaml.safe_load(ROLE.read_text())
    allowed = {
        Asked(group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert namespace.server.asked(namespace.name) == allowed
    assert "403" not in operator.output


def test_nothing_in_the_role_is_a_wildcard_or_a_secret() -> None:
    text = ROLE.read_text().split("rules:")[1]
    assert "*" not in text
    assert "secrets" not in text
