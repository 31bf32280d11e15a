"""Pods and Deployments as values, with only what a test cares about spelt out."""

from dataclasses import replace
from typing import Any

from inferqueue_operator.selectors import Selector
from inferqueue_operator.workloads import Pod, Target

_POD = Pod(
    *("test", "", "", {}, 0.0),
    ready=True,
    scheduled=True,
    pending=False,
    terminating=False,
    restarted=False,
    marked=False,
)
_TARGET = Target("test", "worker", 1, 0, 0, Selector(()), "worker:1", settled=True, rolling=False)


def pod(name: str, **fields: Any) -> Pod:
    """Make a ready pod."""
    return replace(_POD, name=name, uid=f"uid of {name}", **fields)


def target(replicas: int, **fields: Any) -> Target:
    """Make a Deployment whose controller has nothing left to do."""
    return replace(_TARGET, **{"replicas": replicas, "pods": replicas} | fields)
