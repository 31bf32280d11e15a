"""What helm says after an installation."""

import re
import shlex
from typing import Any

import pytest
import yaml

from support.charts import OPERATOR, RELEASE, helm


def notes(chart: Any = RELEASE, **values: Any) -> str:
    place = ("--namespace=inference", "--dry-run=client", "--values=-")
    text = helm("install", "queues", str(chart), *place, stdin=yaml.safe_dump(values))
    return text.rpartition("\nNOTES:\n")[2]


def test_the_next_three_commands() -> None:
    said = notes()
    assert "kubectl --namespace inference wait --for=condition=Ready" in said
    assert "port-forward service/queues-inferqueue-proxy 8008:80 &" in said
    assert """curl http://localhost:8008/predict -H 'Content-Type: application/json' -H 'Prefer: wait=30' """ in said
    assert """-d '{"data":[[5.1,3.5,1.4,0.2]]}'""" in said
    assert "kubectl --namespace inference get inferencequeues --watch" in said
    assert "head -1000 | curl http://localhost:8008/predict/batch" in said
    assert "WARNING" not in said


def test_how_to_upgrade_the_definition_and_how_to_remove_it_all() -> None:
    said = notes()
    assert "kubectl apply --server-side --force-conflicts -f charts/inferqueue-operator/crds/inferqueues.yaml" in said
    assert (RELEASE / "charts/inferqueue-operator/crds/inferqueues.yaml").exists()
    assert "helm uninstall queues --namespace inference" in said
    assert "delete persistentvolumeclaims,secrets" in said


@pytest.mark.parametrize(
    ("proxy", "address"),
    [
        ({"ingress": {"enabled": True}}, "http://ADDRESS/predict"),
        ({"ingress": {"enabled": True, "hosts": ["a.example.com"]}}, "http://a.example.com/predict"),
        (
            {"ingress": {"enabled": True, "hosts": ["a.example.com"], "tls": [{"secretName": "t"}]}},
            "https://a.example.com/predict",
        ),
        ({"ingress": {"enabled": True, "hosts": ["*.example.com"]}}, "http://ANY.example.com/predict"),
        (
            {"httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["b.example.com"]}},
            "http://b.example.com/predict",
        ),
    ],
)
def test_the_address_is_that_of_the_way_in(proxy: Any, address: str) -> None:
    said = notes(proxy=proxy)
    assert f"curl {address} " in said
    assert "port-forward" not in said


def test_a_key_is_asked_for_where_requests_need_one() -> None:
    assert "-H 'Authorization: Bearer KEY'" in notes(proxy={"apiKeys": {"existingSecret": "keys"}})


def test_a_default_queue_that_nobody_works_on_is_pointed_out() -> None:
    assert "WARNING: no worker of this release takes from other (proxy.defaultQueue)" in notes(
        proxy={"defaultQueue": "other"}
    )


def test_a_release_without_models_is_pointed_out() -> None:
    said = notes(workers={"iris": None})
    assert "WARNING: `workers` is empty" in said
    assert "kubectl --namespace inference wait" not in said, "there is nothing that could become ready"


def test_nothing_is_said_of_the_operator_where_there_is_none() -> None:
    account = {"name": "inferqueue-operator"}
    assert "kubectl apply" not in notes(operator={"enabled": False}, operatorAccess={"serviceAccount": account})


@pytest.mark.parametrize(
    ("redis", "jobs", "rest"),
    [
        ({}, "The jobs outlive it.", "persistentvolumeclaims,secrets"),
        ({"persistence": {"whenDeleted": "Delete"}}, "The jobs go with it.", "secrets"),
        ({"persistence": {"enabled": False}}, "The jobs go with it.", "secrets"),
        ({"persistence": {"existingClaim": "mine"}}, "The jobs outlive it, in the claim mine.", "secrets"),
        ({"auth": {"existingSecret": "vault"}}, "The jobs outlive it.", "persistentvolumeclaims"),
        ({"persistence": {"enabled": False}, "auth": {"existingSecret": "vault"}}, "The jobs go with it.", None),
    ],
)
def test_what_outlives_the_release_is_named_and_how_to_remove_it(redis: Any, jobs: str, rest: str | None) -> None:
    said = notes(redis=redis)
    assert jobs in said
    assert re.findall(r"kubectl --namespace inference delete (\S+) --selector", said) == ([rest] if rest else [])


def test_a_run_that_is_longer_than_the_grace_period_is_pointed_out() -> None:
    assert "WARNING: a run of worker iris may take 600 s" in notes(queue={"predictionTimeoutSeconds": 600})
    worker = {"env": {"PREDICTION_TIMEOUT": 300}}
    assert "WARNING: a run of worker iris may take 300 s" in notes(workers={"iris": worker})
    assert "WARNING" not in notes(workers={"iris": worker | {"terminationGracePeriodSeconds": 305}})
    extra = [{"name": "PREDICTION_TIMEOUT", "value": "299.5"}]
    assert "WARNING: a run of worker iris may take 300 s" in notes(workers={"iris": {"extraEnv": extra}})
    assert "WARNING" not in notes(
        workers={
            "iris": {"env": {"PREDICTION_TIMEOUT": 300}, "extraEnv": [{"name": "PREDICTION_TIMEOUT", "value": "10"}]}
        }
    )


def test_a_request_is_quoted_for_the_shell() -> None:
    said = notes(test={"body": {"model": "texts", "data": ["it's"]}})
    (command,) = (line for line in said.splitlines() if "/predict " in line)
    assert shlex.split(command)[-1] == '{"data":["it\'s"],"model":"texts"}'


def test_a_test_that_takes_long_is_given_the_time() -> None:
    assert "helm test queues --namespace inference`" in notes()
    assert "helm test queues --namespace inference --timeout 660s`" in notes(test={"timeoutSeconds": 600})


@pytest.mark.parametrize(("values", "served"), [({}, "namespace inference"), ({"clusterWide": True}, "all namespaces")])
def test_the_operator_says_whom_it_serves(values: Any, served: str) -> None:
    said = notes(OPERATOR, **values)
    assert f"serves the InferenceQueues of {served}" in said
    assert "kubectl apply --server-side --force-conflicts -f crds/inferqueues.yaml" in said
