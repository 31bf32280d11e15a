"""NetworkPolicies: every pod has one, and they let through what the components need of each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.charts import NAMESPACE, OPERATOR, RELEASE, Manifests, Object, Pod, every_file, matches, render

Rule = Mapping[str, Any]


def policy(objects: Manifests, pod: Pod) -> Rule:
    """Give the one policy that picks a pod."""
    (found,) = (
        item["spec"] for item in objects.of("NetworkPolicy") if matches(item["spec"]["podSelector"], pod.labels)
    )
    assert isinstance(found, dict)
    return found


def is_open(rules: list[Rule], side: str, peer: Pod, port: int | str) -> bool:
    """Tell whether one of the rules lets a pod of the same namespace through at a port."""
    for rule in rules:
        peers = rule.get(side) or [{"podSelector": {}}]
        here = [
            entry
            for entry in peers
            if matches(entry.get("podSelector", {}), peer.labels)
            and matches(entry.get("namespaceSelector", {}), {"kubernetes.io/metadata.name": NAMESPACE})
        ]
        if here and any(entry["port"] == port for entry in rule["ports"]):
            return True
    return False


@every_file
def test_every_pod_has_one_policy_that_denies_by_default(chart: Path, file: Path) -> None:
    objects = render(chart, file)
    # One of the values files turns the policies off.
    for pod in objects.pods() if objects.of("NetworkPolicy") else ():
        assert policy(objects, pod)["policyTypes"] == ["Ingress", "Egress"], pod.owner


@every_file
def test_every_policy_picks_pods_that_exist(chart: Path, file: Path) -> None:
    objects = render(chart, file)
    for item in objects.of("NetworkPolicy"):
        assert any(matches(item["spec"]["podSelector"], pod.labels) for pod in objects.pods()), item["metadata"]["name"]


@pytest.mark.parametrize(
    ("source", "target", "port", "name"),
    [
        ("-proxy", "-redis", 6379, "redis"),
        ("-worker-iris", "-redis", 6379, "redis"),
        ("-operator", "-redis", 6379, "redis"),
        ("-test", "-proxy", "http", "http"),
    ],
)
@pytest.mark.parametrize("clients", [[], [{"podSelector": {"matchLabels": {"role": "client"}}}]])
def test_who_must_talk_to_whom_may(source: str, target: str, port: int | str, name: str, clients: Any) -> None:
    objects = render(values={"networkPolicy": {"clients": clients}})
    leaving, entered = objects.pod(source), objects.pod(target)
    assert is_open(policy(objects, leaving)["egress"], "to", entered, port)
    assert is_open(policy(objects, entered)["ingress"], "from", leaving, name)


def test_nobody_else_talks_to_redis_and_redis_to_nobody() -> None:
    objects = render()
    redis = policy(objects, objects.pod("-redis"))
    assert redis["egress"] == []
    assert not is_open(redis["ingress"], "from", objects.pod("-test"), "redis")


def test_an_exporter_beside_redis_is_read_at_its_port_for_metrics() -> None:
    monitoring = [{"podSelector": {"matchLabels": {"role": "prometheus"}}}]
    exporter = {"name": "exporter", "image": "exporter:1", "ports": [{"name": "metrics", "containerPort": 9121}]}
    objects = render(values={"networkPolicy": {"monitoring": monitoring}, "redis": {"extraContainers": [exporter]}})
    redis = policy(objects, objects.pod("-redis"))
    prometheus, other = (Pod(f"Pod/{role}", {"role": role}, {}, {}) for role in ("prometheus", "other"))
    assert is_open(redis["ingress"], "from", prometheus, "metrics")
    assert not is_open(redis["ingress"], "from", other, "metrics")
    assert not is_open(redis["ingress"], "from", prometheus, "redis")


def test_only_named_clients_reach_the_proxy() -> None:
    clients = [{"podSelector": {"matchLabels": {"role": "client"}}}]
    objects = render(values={"networkPolicy": {"clients": clients}})
    proxy = policy(objects, objects.pod("-proxy"))
    assert is_open(proxy["ingress"], "from", Pod("Pod/client", {"role": "client"}, {}, {}), "http")
    assert not is_open(proxy["ingress"], "from", Pod("Pod/other", {"role": "other"}, {}, {}), "http")


def test_the_operator_of_another_namespace_reaches_redis() -> None:
    account = {"name": "inferqueue-operator", "namespace": "elsewhere"}
    objects = render(values={"operator": {"enabled": False}, "operatorAccess": {"serviceAccount": account}})
    (rule,) = policy(objects, objects.pod("-redis"))["ingress"]
    peer = next(entry for entry in rule["from"] if "namespaceSelector" in entry)
    assert peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}
    assert matches(peer["podSelector"], render(OPERATOR).pod("-operator").labels)


every_source = pytest.mark.parametrize("owner", ["-proxy", "-worker-iris", "-operator", "-test"])


def egress(objects: Manifests, owner: str) -> list[Object]:
    return [port for rule in policy(objects, objects.pod(owner))["egress"] for port in rule["ports"]]


@every_source
def test_names_are_resolved(owner: str) -> None:
    ports = egress(render(), owner)
    assert {"port": 53, "protocol": "UDP"} in ports
    assert {"port": 53, "protocol": "TCP"} in ports


@every_source
def test_name_servers_may_listen_elsewhere(owner: str) -> None:
    more = {"extraEgress": [{"ports": [{"port": 5353, "protocol": "UDP"}]}]}
    objects = render(values={"networkPolicy": more, "operator": {"networkPolicy": more}})
    assert {"port": 5353, "protocol": "UDP"} in egress(objects, owner)


def test_an_external_redis_is_reached_at_its_port() -> None:
    objects = render(RELEASE, RELEASE / "ci" / "external-redis-values.yaml")
    for owner in ("-proxy", "-worker-iris", "-operator"):
        assert 6380 in [port["port"] for port in egress(objects, owner)]


def test_policies_may_be_left_out() -> None:
    values = {"networkPolicy": {"enabled": False}, "operator": {"networkPolicy": {"enabled": False}}}
    assert render(values=values).of("NetworkPolicy") == []
