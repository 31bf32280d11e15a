"""Every values file of ci/ renders, with each Helm, to objects that each Kubernetes we name takes."""

import functools
import json
from collections import Counter
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from support.charts import (
    CHARTS,
    NAMESPACE,
    OPERATOR,
    RELEASE,
    Manifests,
    RefusedError,
    every_file,
    helm,
    helm_program,
    render,
)
from support.manifests import CRD

OLDEST, USUAL, NEWEST = "1.29.0", "1.34.0", kubernetes_validate.latest_version()
# Of others, whose schemas Kubernetes does not know.
FOREIGN = {"HTTPRoute", "PodMonitor", "PrometheusRule", "InferenceQueue"}


def rendered(chart: Path, file: Path, kubernetes: str = USUAL) -> Manifests:
    return render(chart, file, kubernetes=kubernetes)


@every_file
@pytest.mark.parametrize("kubernetes", [OLDEST, USUAL, NEWEST])
def test_the_objects_fit_the_schema_of_kubernetes(chart: Path, file: Path, kubernetes: str) -> None:
    if file.name == "models-from-image-values.yaml" and kubernetes == OLDEST:
        with pytest.raises(RefusedError, match=r"needs image volumes, which Kubernetes has from 1\.31 on"):
            rendered(chart, file, kubernetes)
        return
    for item in rendered(chart, file, kubernetes):
        if item["kind"] not in FOREIGN:
            check_schema(json.dumps(item), kubernetes)


@functools.cache
def check_schema(item: str, kubernetes: str) -> None:
    # Most objects are the same for most values files, and each is asked about once.
    kubernetes_validate.validate(json.loads(item), kubernetes, strict=True)


@every_file
def test_the_queues_fit_the_schema_of_the_crd(chart: Path, file: Path) -> None:
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for queue in rendered(chart, file).of("InferenceQueue"):
        jsonschema.validate(queue, schema)
        declared = schema["properties"]["spec"]["properties"]
        assert set(queue["spec"]) <= set(declared)


@every_file
def test_helm_3_renders_the_same(chart: Path, file: Path) -> None:
    other = render(chart, file, program=helm_program("HELM3"))
    assert without_password(other) == without_password(rendered(chart, file))


def without_password(objects: Manifests) -> Manifests:
    return Manifests(item for item in objects if item["kind"] != "Secret")


@every_file
def test_each_object_has_its_labels_its_namespace_and_a_name_of_its_own(chart: Path, file: Path) -> None:
    objects = rendered(chart, file)
    ours = [item for item in objects if not item["metadata"]["name"].startswith(("extra", "queues-inference-extra"))]
    for item in ours:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "queues"
        assert labels["app.kubernetes.io/part-of"] == "inferqueue"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/component"]
        assert ("namespace" in item["metadata"]) != item["kind"].startswith("Cluster")
    names = Counter((item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects)
    assert names.most_common(1)[0][1] == 1


@every_file
def test_selectors_pick_the_pods_of_their_own_workload_alone(chart: Path, file: Path) -> None:
    objects = rendered(chart, file)
    pods = list(objects.pods())
    for item in [*objects.of("Deployment"), *objects.of("StatefulSet")]:
        selected = item["spec"]["selector"]["matchLabels"]
        owners = [pod.owner for pod in pods if selected.items() <= pod.labels.items()]
        assert owners == [f"{item['kind']}/{item['metadata']['name']}"]
        assert not {"app.kubernetes.io/version", "helm.sh/chart"} & selected.keys()


@every_file
def test_services_and_budgets_pick_pods_that_exist(chart: Path, file: Path) -> None:
    objects = rendered(chart, file)
    for service in objects.of("Service"):
        picked = [pod for pod in objects.pods() if service["spec"]["selector"].items() <= pod.labels.items()]
        ports = {port["name"] for container in picked[0].containers for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for budget in objects.of("PodDisruptionBudget"):
        selected = budget["spec"]["selector"]["matchLabels"]
        assert any(selected.items() <= pod.labels.items() for pod in objects.pods())


def test_a_budget_never_keeps_a_single_pod_on_its_node() -> None:
    objects = render(values={"proxy": {"replicas": 1}})
    assert [item["metadata"]["name"] for item in objects.of("PodDisruptionBudget")] == ["queues-inferqueue-worker-iris"]
    assert objects.of("PodDisruptionBudget")[0]["spec"]["maxUnavailable"] == "25%"


def test_a_fresh_clone_holds_the_dependency() -> None:
    link = RELEASE / "charts" / "inferqueue-operator"
    assert link.is_symlink()
    assert link.resolve() == OPERATOR.resolve()
    assert not link.readlink().is_absolute()


@pytest.mark.parametrize("variable", ["", "HELM3"])
def test_a_packaged_chart_brings_all_that_it_needs(tmp_path: Path, variable: str) -> None:
    program = helm_program(variable)
    helm("package", str(RELEASE), f"--destination={tmp_path}", program=program)
    (package,) = tmp_path.glob("inferqueue-*.tgz")
    assert without_password(render(package, program=program)) == without_password(render(program=program))


def test_the_charts_have_one_version() -> None:
    release, operator = (yaml.safe_load((chart / "Chart.yaml").read_text()) for chart in (RELEASE, OPERATOR))
    (dependency,) = release["dependencies"]
    assert release["version"] == operator["version"] == dependency["version"]
    assert release["appVersion"] == operator["appVersion"]
    assert release["kubeVersion"] == operator["kubeVersion"]


def test_an_older_kubernetes_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"requires kubeVersion: >=1\.29\.0-0"):
        render(kubernetes="1.28.0")


@pytest.mark.parametrize("chart", [RELEASE, OPERATOR], ids=lambda chart: chart.name)
def test_helm_finds_nothing_to_complain_of(chart: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(chart))


def test_a_release_named_after_the_project_does_not_repeat_it() -> None:
    named = render(release="inferqueue")
    assert named.one("Deployment", "-operator")["metadata"]["name"] == "inferqueue-operator"
    assert named.one("StatefulSet", "-redis")["metadata"]["name"] == "inferqueue-redis"


@pytest.mark.parametrize("name", ["null", "true", "no"])
def test_a_word_of_yaml_may_be_a_name(name: str) -> None:
    metrics = {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
    whole = {"fullnameOverride": name, "metrics": metrics}
    for objects in (render(values=whole), render(OPERATOR, values=whole)):
        assert all(isinstance(item["metadata"]["name"], str) for item in objects)


def test_extra_objects_are_templates() -> None:
    objects = render(RELEASE, CHARTS / "inferqueue" / "ci" / "everything-values.yaml")
    assert objects.one("ConfigMap", "inference-extra")["data"] == {"namespace": NAMESPACE}
    assert objects.one("ConfigMap", "extra-text")["data"] == {"release": "queues"}
