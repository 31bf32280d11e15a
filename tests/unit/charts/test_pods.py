"""What holds for every pod of both charts, whatever the values."""

import base64
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.charts import OPERATOR, RELEASE, Manifests, environment, every_file, render


@every_file
def test_every_pod_keeps_to_the_restricted_standard(chart: Path, file: Path) -> None:
    for pod in render(chart, file).pods():
        assert pod.spec["securityContext"]["runAsNonRoot"] is True, pod.owner
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, pod.owner
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), pod.owner
        assert not any("hostPath" in volume for volume in pod.spec.get("volumes", [])), pod.owner
        for container in pod.containers:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, (pod.owner, container["name"])
            assert context["readOnlyRootFilesystem"] is True, (pod.owner, container["name"])
            assert context["capabilities"]["drop"] == ["ALL"], (pod.owner, container["name"])
            assert "add" not in context["capabilities"], (pod.owner, container["name"])


@every_file
def test_the_operator_alone_has_a_token(chart: Path, file: Path) -> None:
    objects = render(chart, file)
    for pod in objects.pods():
        is_operator = pod.labels["app.kubernetes.io/component"] == "operator"
        assert pod.spec["automountServiceAccountToken"] is is_operator, pod.owner
        assert pod.spec["enableServiceLinks"] is False, pod.owner
    assert all(account["automountServiceAccountToken"] is False for account in objects.of("ServiceAccount"))


@every_file
def test_every_pod_uses_an_account_of_the_chart_or_one_that_is_named(chart: Path, file: Path) -> None:
    objects = render(chart, file)
    made = {account["metadata"]["name"] for account in objects.of("ServiceAccount")}
    for pod in objects.pods():
        assert pod.spec["serviceAccountName"] in made | {"default", "queue-operator"}, pod.owner


@every_file
def test_no_variable_stands_twice(chart: Path, file: Path) -> None:
    for pod in render(chart, file).pods():
        for container in pod.containers:
            names = Counter(env["name"] for env in container.get("env", []))
            assert [name for name, times in names.items() if times > 1] == [], (pod.owner, container["name"])


@every_file
def test_passwords_come_by_reference_and_never_as_an_argument(chart: Path, file: Path) -> None:
    for pod in render(chart, file).pods():
        for container in pod.containers:
            for env in container.get("env", []):
                if env["name"] in ("REDIS_URL", "REDISCLI_AUTH"):
                    assert set(env["valueFrom"]) == {"secretKeyRef"}, pod.owner
            assert "password" not in str(container.get("command", "")).lower()


@every_file
def test_no_config_map_or_annotation_tells_the_password(chart: Path, file: Path) -> None:
    objects = render(chart, file)
    for secret in objects.of("Secret"):
        password = secret["data"]["password"]
        rest = str([item for item in objects if item is not secret])
        assert password not in rest
        assert base64.b64decode(password).decode() not in rest


@every_file
def test_each_volume_is_there_and_mounted(chart: Path, file: Path) -> None:
    objects = render(chart, file)
    claims = {
        item["metadata"]["name"]: [claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])]
        for item in objects.of("StatefulSet")
    }
    for pod in objects.pods():
        volumes = Counter(volume["name"] for volume in pod.spec.get("volumes", []))
        volumes.update(claims.get(pod.owner.partition("/")[2], []))
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        assert set(volumes) == mounted, pod.owner
        assert set(volumes.values()) <= {1}, pod.owner


@every_file
def test_our_containers_ask_for_little_and_have_a_limit_of_memory(chart: Path, file: Path) -> None:
    for pod in render(chart, file).pods():
        container = pod.spec["containers"][0]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), pod.owner
        assert "memory" in container["resources"]["limits"], pod.owner


def kept_limits() -> dict[str, Any]:
    return {pod.owner: pod.spec["containers"][0]["resources"] for pod in render().pods()}


def test_twenty_workers_fit_on_a_small_node() -> None:
    resources = kept_limits()["Deployment/queues-inferqueue-worker-iris"]
    assert resources["requests"] == {"cpu": "100m", "memory": "160Mi"}
    assert "cpu" not in resources["limits"]


@pytest.mark.parametrize("chart", [RELEASE, OPERATOR], ids=lambda chart: chart.name)
def test_restrictions_may_be_changed_by_name(chart: Path) -> None:
    contexts = {"podSecurityContext": {"runAsUser": None, "runAsGroup": 7}, "securityContext": {"privileged": False}}
    values = contexts if chart == OPERATOR else {"proxy": contexts}
    pod = render(chart, values=values).pod("-operator" if chart == OPERATOR else "-proxy")
    assert "runAsUser" not in pod.spec["securityContext"]
    assert pod.spec["securityContext"]["runAsGroup"] == 7
    assert pod.spec["containers"][0]["securityContext"]["privileged"] is False
    assert pod.spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("chart", [RELEASE, OPERATOR], ids=lambda chart: chart.name)
def test_a_values_file_takes_back_what_the_one_before_it_said(chart: Path, tmp_path: Path) -> None:
    def written(name: str, values: dict[str, Any], **common: Any) -> Path:
        whole = {"commonLabels": common} | (values if chart == OPERATOR else {"proxy": values})
        tmp_path.joinpath(name).write_text(yaml.safe_dump(whole))
        return tmp_path / name

    said = {"nodeSelector": {"disk": "fast"}, "resources": {"limits": {"cpu": "1"}}, "podAnnotations": {"a": "b"}}
    taken = {"nodeSelector": {"disk": None}, "resources": {"limits": {"cpu": None}}, "podAnnotations": {"a": None}}
    files = written("said.yaml", said, team="a", cost="b"), written("taken.yaml", taken, cost=None)
    pod = render(chart, *files).pod("-operator" if chart == OPERATOR else "-proxy")
    assert "nodeSelector" not in pod.spec
    assert "cpu" not in pod.spec["containers"][0]["resources"]["limits"]
    assert "a" not in pod.annotations
    assert pod.labels["team"] == "a"
    assert "cost" not in pod.labels


def test_a_restriction_may_be_lifted() -> None:
    pod = render(values={"redis": {"securityContext": {"readOnlyRootFilesystem": False}}}).pod("-redis")
    assert pod.container("redis")["securityContext"]["readOnlyRootFilesystem"] is False


def test_images_come_from_a_mirror_with_its_secrets() -> None:
    mirror = {"imageRegistry": "mirror.example.com", "imagePullSecrets": [{"name": "mirror"}]}
    for pod in render(values={"global": mirror}).pods():
        assert all(container["image"].startswith("mirror.example.com/") for container in pod.containers), pod.owner
        assert pod.spec["imagePullSecrets"] == [{"name": "mirror"}], pod.owner


def test_images_have_the_version_of_the_chart() -> None:
    objects = render()
    images = {container["image"] for pod in objects.pods() for container in pod.containers}
    version = objects.one("Deployment", "-proxy")["metadata"]["labels"]["app.kubernetes.io/version"]
    assert images == {
        "docker.io/library/redis:8.0",
        *(f"ghcr.io/inferqueue/inferqueue-{name}:{version}" for name in ("proxy", "worker", "operator")),
    }


def test_a_digest_wins_over_the_tag() -> None:
    digest = f"sha256:{'0' * 64}"
    pod = render(values={"proxy": {"image": {"tag": "latest", "digest": digest}}}).pod("-proxy")
    assert pod.container("proxy")["image"] == f"ghcr.io/inferqueue/inferqueue-proxy@{digest}"


@pytest.mark.parametrize("registry", ["", None])
def test_a_repository_may_hold_the_registry(registry: str | None) -> None:
    image = {"registry": registry, "repository": "localhost:5000/ours"}
    objects = render(values={"proxy": {"image": image}, "operator": {"image": image}})
    assert objects.pod("-proxy").container("proxy")["image"].startswith("localhost:5000/ours:")
    assert objects.pod("-operator").container("operator")["image"].startswith("localhost:5000/ours:")


def test_pods_are_not_started_anew_by_a_version_alone() -> None:
    for pod in render().pods():
        if not pod.owner.startswith("Pod/"):
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & pod.labels.keys(), pod.owner


@pytest.mark.parametrize("owner", ["-proxy", "-worker-iris", "-operator"])
def test_programs_are_started_and_asked_as_they_expect(owner: str) -> None:
    container = render().pod(owner).spec["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["metrics"] == 9090
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    assert container["startupProbe"]["periodSeconds"] == 1
    if owner == "-worker-iris":  # it lets probes wait for up to 8 s while it starts
        assert container["startupProbe"]["timeoutSeconds"] > 8
    assert "command" not in container


def test_the_test_of_a_release_is_a_hook_that_leaves_nothing() -> None:
    pod = render().pod("-test")
    assert pod.annotations == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    assert pod.spec["restartPolicy"] == "Never"
    assert environment(pod, "predict")["PROXY"] == "http://queues-inferqueue-proxy:80"


def test_the_test_of_a_release_runs_where_and_as_the_proxy_may() -> None:
    proxy = {
        "podSecurityContext": {"runAsUser": None, "runAsGroup": 7},
        "securityContext": {"runAsNonRoot": True},
        "nodeSelector": {"pool": "inference"},
        "tolerations": [{"key": "inference", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}, "podAntiAffinity": {}},
        "priorityClassName": "important",
    }
    objects = render(values={"proxy": proxy})
    model, pod = objects.pod("-proxy"), objects.pod("-test")
    for key in ("securityContext", "nodeSelector", "tolerations", "priorityClassName"):
        assert pod.spec[key] == model.spec[key]
    assert list(pod.spec["affinity"]) == ["nodeAffinity"]
    assert pod.container("predict")["securityContext"] == model.container("proxy")["securityContext"]


def test_a_variable_of_the_users_replaces_the_charts() -> None:
    extra = [{"name": "JOB_TTL", "value": "60"}, {"name": "OTHER", "value": "x"}]
    objects: Manifests = render(values={"proxy": {"extraEnv": extra}, "operator": {"extraEnv": extra}})
    assert environment(objects.pod("-proxy"), "proxy")["JOB_TTL"] == "60"
    assert environment(objects.pod("-proxy"), "proxy")["OTHER"] == "x"
    assert environment(objects.pod("-operator"), "operator") == {
        "WATCH_NAMESPACES": "inference",
        "JOB_TTL": "60",
        "OTHER": "x",
    }
