"""Deployments and pods as the API server gives them."""

from typing import Any

import pytest

from inferqueue_operator.workloads import parse_pod, parse_target


def deployment(asked: int, **status: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "test", "name": "worker", "resourceVersion": "7", "generation": 2},
        "spec": {
            "replicas": asked,
            "selector": {"matchLabels": {"app": "worker"}},
            "template": {"spec": {"containers": [{"image": "worker:1"}]}},
        },
        "status": status,
    }


@pytest.mark.parametrize(
    ("status", "settled", "rolling"),
    [
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3}, True, False),
        ({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3}, False, False),
        ({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 4}, False, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}, True, False),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1}, True, True),
        ({}, False, False),
    ],
)
def test_a_deployment(status: dict[str, int], settled: bool, rolling: bool) -> None:
    target = parse_target(deployment(3, **status))
    assert (target.settled, target.rolling) == (settled, rolling)
    assert (target.replicas, target.pods, target.image) == (3, status.get("replicas", 0), "worker:1")


def pod(**status: Any) -> dict[str, Any]:
    metadata = {"namespace": "test", "name": "worker-1", "uid": "1", "creationTimestamp": "1970-01-01T00:01:00Z"}
    return {"metadata": metadata, "spec": {"nodeName": "node"}, "status": status}


def test_a_pod() -> None:
    parsed = parse_pod(pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}]))
    assert parsed is not None
    assert (parsed.created, parsed.ready, parsed.scheduled, parsed.restarted) == (60, True, True, False)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_none(phase: str) -> None:
    assert parse_pod(pod(phase=phase)) is None


def test_a_restarted_pod() -> None:
    parsed = parse_pod(pod(containerStatuses=[{"restartCount": 2}]))
    assert parsed is not None
    assert parsed.restarted
