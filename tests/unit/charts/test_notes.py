"""What helm says after an installation."""

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
    assert "port-forward service/queues-inferqueue-proxy 8000:80 &" in said
    assert """curl http://localhost:8000/predict -H 'Content-Type: application/json' -H 'Prefer: wait=30' """ in said
    assert """-d '{"data":[[5.1,3.5,1.4,0.2]]}'""" in said
    assert "kubectl --namespace inference get inferencequeues --watch" in said
    assert "head -1000 | curl http://localhost:8000/predict/batch" in said
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
    assert "WARNING: `workers` is empty" in notes(workers={"iris": None})


def test_nothing_is_said_of_the_operator_where_there_is_none() -> None:
    account = {"name": "inferqueue-operator"}
    assert "kubectl apply" not in notes(operator={"enabled": False}, operatorAccess={"serviceAccount": account})


def test_nothing_is_said_to_outlive_what_does_not() -> None:
    assert "outlive" not in notes(redis={"persistence": {"enabled": False}})


@pytest.mark.parametrize(("values", "served"), [({}, "namespace inference"), ({"clusterWide": True}, "all namespaces")])
def test_the_operator_says_whom_it_serves(values: Any, served: str) -> None:
    said = notes(OPERATOR, **values)
    assert f"serves the InferenceQueues of {served}" in said
    assert "kubectl apply --server-side --force-conflicts -f crds/inferqueues.yaml" in said
