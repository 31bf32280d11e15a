"""Specifications that slipped past the API server's checks become a problem with a sentence, never an exception."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from inferqueue_core.keys import QueueKeys
from inferqueue_core.scaling import Objective
from inferqueue_operator.resource import parse
from support.manifests import CRD

SPEC: dict[str, Any] = {"queue": {"name": "predict_queue"}, "scaleTargetRef": {"name": "worker"}}
METADATA = {"namespace": "test", "name": "iris", "uid": "1", "generation": 3}


def test_defaults_are_those_of_the_law() -> None:
    resource = parse({"metadata": METADATA, "spec": SPEC})
    assert resource.problem == ""
    assert resource.generation == 3
    assert resource.spec is not None
    assert resource.spec.law_objective == Objective(max_wait=30, fallback_after=60, fallback_replicas=2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"minReplicas": 30}, "spec: minReplicas (30) must lie between 0 and maxReplicas (20)"),
        ({"objective": {}}, "spec: objective takes exactly one of maxWaitSeconds and backlogPerReplica"),
        ({"queue": {"name": "iris:leases"}}, "spec.queue.name: queue name 'iris:leases' is not usable"),
        ({"queue": {"name": "iris", "redis": {}}}, "spec.queue.redis: redis takes exactly one of url and secretRef"),
        ({"scaleTargetRef": {"kind": "StatefulSet", "name": "worker"}}, "only apps/v1 Deployments are scaled"),
        ({"scaleTargetRef": {}}, "spec.scaleTargetRef.name: Field required"),
        (
            {"queue": {"name": "iris", "redis": {"secretRef": {"name": "../../other/secrets/redis"}}}},
            "spec.queue.redis.secretRef.name: '../../other/secrets/redis' is no object's name",
        ),
        ({"scaleTargetRef": {"name": "worker/../other"}}, "'worker/../other' is no object's name"),
        ({"maxReplicas": "many"}, "spec.maxReplicas: Input should be a valid integer"),
    ],
)
def test_problems(change: dict[str, Any], sentence: str) -> None:
    resource = parse({"metadata": METADATA, "spec": SPEC | change})
    assert resource.spec is None
    assert sentence in resource.problem


def test_no_specification_at_all() -> None:
    assert "spec.queue: Field required" in parse({"metadata": METADATA}).problem


def test_the_resource_refuses_as_queues_the_names_of_all_other_keys_of_a_queue() -> None:
    values = (getattr(QueueKeys("q"), name) for name in vars(QueueKeys) if not name.startswith("_"))
    endings = {value.removeprefix("q") for value in values if isinstance(value, str) and value.startswith("q:")}
    text = CRD.read_text()
    assert set(re.findall(r"endsWith\('([^']+)'\)", text)) == endings
    assert set(re.findall(r"'(:[^']+)'", text[text.index("end like another key") : text.index("redis:\n")])) == endings


def test_every_field_is_explained() -> None:
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert [path for path in _unexplained(schema, "") if path not in ("apiVersion", "kind", "metadata")] == []


def _unexplained(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, part in schema.get("properties", {}).items():
        if "description" not in part:
            yield f"{path}{name}"
        yield from _unexplained(part, f"{path}{name}.")
        yield from _unexplained(part.get("items", {}), f"{path}{name}[].")
