"""The InferenceQueue in the API server: defaults, columns, refusals."""

from typing import Any

import pytest

from support.kubectl import Body
from support.releases import Release

# The request that waits for 40 s is sent here, so that nothing waits for it where it is looked at.
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("patient_answer")]


def _queue(name: str, **spec: Any) -> Body:
    whole = {"queue": {"name": "unused"}, "scaleTargetRef": {"name": "nobody"}, "suspend": True} | spec
    return {
        "apiVersion": "inferqueue.dev/v1alpha1",
        "kind": "InferenceQueue",
        "metadata": {"name": name},
        "spec": {field: value for field, value in whole.items() if value is not None},
    }


def test_defaults_are_stored(release: Release) -> None:
    release.kubectl.apply(_queue("defaults", suspend=None))
    spec = release.kubectl.json("get", "inferencequeue", "defaults")["spec"]
    release.kubectl.run("delete", "inferencequeue", "defaults", "--timeout=30s")
    assert spec == {
        "queue": {"name": "unused"},
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"},
        "minReplicas": 0,
        "maxReplicas": 20,
        "objective": {"maxWaitSeconds": 30},
        "fallback": {"afterSeconds": 60, "replicas": 2},
        "suspend": False,
    }


def test_kubectl_shows_the_columns(release: Release) -> None:
    heading, *rows = release.kubectl.run("get", "iq").splitlines()
    assert heading.split() == ["NAME", "TARGET", "MIN", "MAX", "BACKLOG", "REPLICAS", "DESIRED", "READY", "AGE"]
    row = next(row.split() for row in rows if row.startswith(release.worker("quick")))
    assert row[:4] == [release.worker("quick"), release.worker("quick"), "0", "20"]
    assert row[7] == "True"


def test_inference_queues_are_found_by_their_category(release: Release) -> None:
    names = release.kubectl.run("get", "inference", "--output", "name").split()
    assert f"inferencequeue.inferqueue.dev/{release.worker('iris')}" in names


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"minReplicas": 5, "maxReplicas": 4}, "minReplicas must not exceed maxReplicas"),
        (
            {"objective": {"maxWaitSeconds": 30, "backlogPerReplica": 10}},
            "objective takes exactly one of maxWaitSeconds and backlogPerReplica",
        ),
        ({"objective": {}}, "objective takes exactly one of maxWaitSeconds and backlogPerReplica"),
        ({"objective": {"maxWaitSeconds": 0}}, "should be greater than or equal to 1"),
        ({"queue": {"name": "a queue"}}, "queue.name may hold letters, digits"),
        ({"queue": {"name": "job:1"}}, "queue.name must not be 'models' or begin with 'job:'"),
        ({"queue": {"name": "iris:leases"}}, "queue.name must not end like another key of a queue"),
        ({"queue": {"name": "iris", "redis": {}}}, "redis takes exactly one of url and secretRef"),
        (
            {"queue": {"name": "iris", "redis": {"url": "redis://:secret@redis:6379"}}},
            "redis.url must not hold a password",
        ),
        ({"queue": {"name": "iris", "redis": {"url": "redis:6379"}}}, "redis.url must begin with redis://"),
        ({"scaleTargetRef": {"name": "Iris"}}, "scaleTargetRef.name must be a Deployment's name"),
        ({"scaleTargetRef": {"name": "iris", "kind": "StatefulSet"}}, 'supported values: "Deployment"'),
        ({"maxReplicas": 0}, "should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(release: Release, spec: Body, sentence: str) -> None:
    assert sentence in release.kubectl.refusal(_queue("refused", **spec))
