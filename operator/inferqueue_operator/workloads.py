"""What the operator knows of Deployments and pods, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inferqueue_operator.selectors import Selector

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
# The least cost that Kubernetes takes: no pod to which somebody else gave a low one goes before those that we chose.
CHEAP = str(-(2**31))


@dataclass(frozen=True, slots=True)
class Target:
    """A Deployment of workers; `replicas` is what is asked for, `image` its first container's.

    `pods` is how many there are by its own count: fewer than `replicas` where a quota or the like forbids more.
    `settled`: its controller has seen what is asked for and has none to delete. `rolling`: it replaces pods of an older
    template.
    """

    namespace: str
    name: str
    version: int
    replicas: int
    pods: int
    selector: Selector
    image: str
    settled: bool
    rolling: bool


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that has not ended; `created` in seconds since 1970, `pending` and `ready` as Kubernetes sees it.

    `marked`: it bears our mark as the first to be deleted.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    created: float
    ready: bool
    scheduled: bool
    pending: bool
    terminating: bool
    restarted: bool
    marked: bool


def parse_target(body: Mapping[str, Any]) -> Target:
    """Read a Deployment."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status", {})
    replicas = spec.get("replicas", 1)
    containers = spec["template"]["spec"]["containers"]
    total = status.get("replicas", 0)
    observed = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    return Target(
        metadata["namespace"],
        metadata["name"],
        int(metadata["resourceVersion"]),
        replicas,
        total,
        Selector.parse(spec["selector"]),
        containers[0].get("image", ""),
        settled=observed and total <= replicas,
        rolling=status.get("updatedReplicas", 0) < total,
    )


def parse_pod(body: Mapping[str, Any]) -> Pod | None:
    """Read a pod; None for one that has ended."""
    metadata, status = body["metadata"], body.get("status", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    return Pod(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        metadata.get("labels") or {},
        datetime.fromisoformat(metadata["creationTimestamp"]).timestamp(),
        ready=conditions.get("Ready") == "True",
        scheduled=bool(body["spec"].get("nodeName")),
        pending=status.get("phase", "Pending") == "Pending",
        terminating="deletionTimestamp" in metadata,
        restarted=any(container.get("restartCount") for container in status.get("containerStatuses") or ()),
        marked=(metadata.get("annotations") or {}).get(DELETION_COST) == CHEAP,
    )
