"""Who may do what: the operator has the rights of role.yaml, one Secret by its name, and nobody else has any."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.charts import NAMESPACE, OPERATOR, Manifests, environment, every_file, render
from support.manifests import ROLE

OPERATOR_RULES: list[dict[str, Any]] = yaml.safe_load(ROLE.read_text())["rules"]
ADDRESS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


def roles(objects: Manifests) -> dict[tuple[str, str, str], Any]:
    return {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item["rules"]
        for kind in ("Role", "ClusterRole")
        for item in objects.of(kind)
    }


def test_the_rights_of_a_release() -> None:
    assert roles(render()) == {
        ("Role", NAMESPACE, "queues-inferqueue-operator"): OPERATOR_RULES,
        ("Role", NAMESPACE, "queues-inferqueue-redis-address"): [
            ADDRESS | {"resourceNames": ["queues-inferqueue-redis"]}
        ],
    }


def test_a_role_in_each_namespace_that_is_watched() -> None:
    objects = render(OPERATOR, values={"watchNamespaces": ["team-b", "team-a"]})
    assert roles(objects) == {
        ("Role", namespace, "queues-inferqueue-operator"): OPERATOR_RULES for namespace in ("team-a", "team-b")
    }
    for binding in objects.of("RoleBinding"):
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "queues-inferqueue-operator", "namespace": NAMESPACE}
    assert environment(objects.pod("-operator"), "operator")["WATCH_NAMESPACES"] == "team-a,team-b"


def test_a_cluster_role_for_all_namespaces() -> None:
    objects = render(OPERATOR, values={"clusterWide": True})
    assert roles(objects) == {("ClusterRole", "", "queues-inferqueue-operator"): OPERATOR_RULES}
    assert environment(objects.pod("-operator"), "operator")["WATCH_NAMESPACES"] == "*"
    assert [item["roleRef"]["kind"] for item in objects.of("ClusterRoleBinding")] == ["ClusterRole"]


def test_the_cluster_s_own_roles_are_widened_on_request() -> None:
    widened = roles(render(OPERATOR, values={"rbac": {"aggregateClusterRoles": True}}))
    assert {name.rpartition("-")[2] for kind, _, name in widened if kind == "ClusterRole"} == {"view", "edit", "admin"}
    for (kind, _, name), rules in widened.items():
        if kind == "ClusterRole":
            assert {group for rule in rules for group in rule["apiGroups"]} == {"inferqueue.dev"}
            assert ("patch" in rules[0]["verbs"]) == (not name.endswith("view"))


def test_rights_may_be_left_to_somebody_else() -> None:
    objects = render(OPERATOR, values={"rbac": {"create": False}})
    assert roles(objects) == {}
    assert objects.of("RoleBinding") == []


@every_file
def test_no_right_is_wider_than_it_must_be(chart: Path, file: Path) -> None:
    objects = render(chart, file)
    for (kind, _, name), rules in roles(objects).items():
        for rule in rules:
            assert "*" not in str(rule), name
            if "secrets" in rule["resources"]:
                assert (kind, rule["verbs"], len(rule["resourceNames"])) == ("Role", ["get"], 1)


@every_file
def test_bindings_name_roles_and_accounts_that_exist(chart: Path, file: Path) -> None:
    objects = render(chart, file)
    accounts = {account["metadata"]["name"] for account in objects.of("ServiceAccount")}
    for binding in [*objects.of("RoleBinding"), *objects.of("ClusterRoleBinding")]:
        reference = binding["roleRef"]
        assert any(name == reference["name"] and kind == reference["kind"] for kind, _, name in roles(objects))
        (subject,) = binding["subjects"]
        assert subject["namespace"] != NAMESPACE or subject["name"] in accounts


@pytest.mark.parametrize(
    ("values", "secret", "key"),
    [
        ({}, "queues-inferqueue-redis", "url"),
        ({"redis": {"auth": {"existingSecret": "vault"}}}, "vault", "url"),
        ({"redis": {"enabled": False}, "externalRedis": {"existingSecret": "far", "key": "where"}}, "far", "where"),
    ],
)
def test_everybody_reads_the_address_in_the_same_secret(values: Any, secret: str, key: str) -> None:
    objects = render(values=values)
    reference = {"secretKeyRef": {"name": secret, "key": key}}
    assert environment(objects.pod("-proxy"), "proxy")["REDIS_URL"] == reference
    assert environment(objects.pod("-worker-iris"), "worker")["REDIS_URL"] == reference
    (queue,) = objects.of("InferenceQueue")
    assert queue["spec"]["queue"]["redis"] == {"secretRef": {"name": secret, "key": key}}
    assert objects.one("Role", "-redis-address")["rules"][0]["resourceNames"] == [secret]


def test_a_second_release_lets_the_operator_of_the_first_in() -> None:
    account = {"name": "inferqueue-operator", "namespace": "elsewhere"}
    objects = render(values={"operator": {"enabled": False}, "operatorAccess": {"serviceAccount": account}})
    assert objects.one("RoleBinding", "-redis-address")["subjects"] == [{"kind": "ServiceAccount"} | account]
    assert [pod.owner for pod in objects.pods() if "operator" in pod.owner] == []
    assert [item["metadata"]["name"] for item in objects.of("Role")] == ["queues-inferqueue-redis-address"]
