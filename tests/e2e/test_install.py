"""What `helm install` brings up."""

from collections.abc import Callable

import pytest

from support.figures import Figures
from support.gateways import Gateway
from support.releases import Release

pytestmark = pytest.mark.e2e

MOST_INSTALL_SECONDS = 60


def test_install_becomes_ready_in_a_namespace_that_enforces_restricted_pod_security(
    installation: tuple[Release, float], gateway: Gateway, figures: Figures
) -> None:
    release, seconds = installation
    kept = seconds <= MOST_INSTALL_SECONDS
    figures.hold("helm install --wait, to ready", f"{seconds:.1f} s", f"≤ {MOST_INSTALL_SECONDS} s", kept)
    kubectl = release.kubectl
    labels = kubectl.json("get", "namespace", kubectl.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    refused = [event["message"] for event in kubectl.items("events") if event["reason"] == "FailedCreate"]
    assert refused == []
    assert gateway.get("/health") == {"status": "healthy"}


def test_the_workers_publish_their_models_and_then_go(gateway: Gateway, at_rest: Callable[..., None]) -> None:
    at_rest("iris", "quick", "steady")
    names = {model["name"] for model in gateway.http.post("/v2/repository/index").raise_for_status().json()}
    assert names >= {"iris", "quick", "steady", "long"}


def test_helm_test_passes(release: Release, gateway: Gateway) -> None:
    release.test()
