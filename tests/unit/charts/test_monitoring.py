"""Alerts and dashboard: their expressions are PromQL, of metrics and labels that our programs really have."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from inferqueue_core.connection import ServerState
from inferqueue_core.jobs import QueueObservation
from inferqueue_core.scaling import Decision, QueueLook
from inferqueue_operator.metrics import OperatorMetrics
from inferqueue_operator.resource import Identity
from inferqueue_operator.statuses import Finding
from inferqueue_proxy.app import make_services
from inferqueue_proxy.monitor import Look
from inferqueue_proxy.settings import ProxySettings
from inferqueue_worker.exposition import registry_of
from inferqueue_worker.metrics import WorkerMetrics
from support.charts import NAMESPACE, OPERATOR, RELEASE, Manifests, RefusedError, helm, matches, render

ROOT = Path(__file__).parents[3]
CHARTS = (RELEASE, OPERATOR)
DASHBOARD: dict[str, Any] = json.loads((RELEASE / "dashboards" / "inferqueue.json").read_text())
# What Prometheus puts to every sample of a PodMonitor; ours renames a label of the worker's pods to `worker`.
TARGET_LABELS = {"job", "namespace", "pod", "worker"}


def alerts() -> list[dict[str, Any]]:
    files = [yaml.safe_load((chart / "alerts.yaml").read_text()) for chart in CHARTS]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[Any]:
    found = [pytest.param(rule["expr"], id=rule["alert"]) for rule in alerts()]
    for panel in panels():
        for target in panel["targets"]:
            # Grafana fills in its variables before Prometheus reads the expression.
            expression = target["expr"].replace("$__rate_interval", "5m")
            found.append(pytest.param(expression, id=f"{panel['title']} {target['refId']}"))
    return found


def proxy_registry() -> CollectorRegistry:
    services = make_services(ProxySettings(redis_url="redis://127.0.0.1:1"))
    services.metrics.answered("/predict", "POST", 202, 0.1)
    services.metrics.submitted("predict_queue", "accepted", 1)
    services.metrics.let_go("limit")
    services.monitor.looks["predict_queue"] = Look(QueueObservation(0, 0, 0, 0, 0))
    services.monitor.server = ServerState(1, 2, 0, True)
    return services.metrics.registry


def worker_registry() -> CollectorRegistry:
    metrics = WorkerMetrics()
    metrics.jobs.add(1, "completed")
    metrics.fallbacks.add(1, "ValueError")
    metrics.strays.add(1, "moved")
    metrics.phase_seconds.add(1, "run")
    return registry_of(metrics)


def operator_registry() -> CollectorRegistry:
    metrics = OperatorMetrics()
    queue = Identity("test", "iris", "1")
    decision = Decision(1, "Deadline", "")
    metrics.reconciles.labels("test", "iris", "success").inc()
    metrics.queue_errors.labels("test", "iris").inc()
    metrics.note_decision(queue, QueueLook(0, 0), decision, 0)
    metrics.note_replicas(queue, 0, 1)
    metrics.note_scaling(queue, 0, 1)
    metrics.note_finding(queue, Finding(decision=decision), 30)
    return metrics.registry


def program_of(metric: str) -> str:
    """Name the program that has a metric, as the PodMonitors do."""
    return next((name for name in ("worker", "operator") if metric.startswith(f"inferqueue_{name}_")), "proxy")


@cache
def measured() -> dict[str, dict[str, set[str]]]:
    """Give the metrics of all programs by name, each with its labels and their values."""
    found: dict[str, dict[str, set[str]]] = {}
    for registry in (proxy_registry(), worker_registry(), operator_registry()):
        for family in registry.collect():
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for name, value in sample.labels.items():
                    labels.setdefault(name, set()).add(value)
    return found


def nodes(expression: str) -> list[promql_parser.Expr]:
    found: list[promql_parser.Expr] = []
    promql_parser.walk(promql_parser.parse(expression), lambda node: found.append(node))
    return found


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    return [node for node in nodes(expression) if isinstance(node, promql_parser.VectorSelector)]


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_of_an_expression_exists(expression: str) -> None:
    for selector in selectors(expression):
        assert selector.name in measured()
        labels = measured()[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in TARGET_LABELS | set(labels), f"{selector.name} has no label {matcher.name}"


@pytest.mark.parametrize("expression", expressions())
def test_every_label_that_is_grouped_by_exists(expression: str) -> None:
    labels = {label for selector in selectors(expression) for label in measured()[str(selector.name)]}
    for node in nodes(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= labels | TARGET_LABELS


@pytest.mark.parametrize("expression", expressions())
def test_every_event_that_is_named_is_counted(expression: str) -> None:
    for selector in selectors(expression):
        for matcher in selector.matchers.matchers:
            if matcher.name == "event":
                assert set(matcher.value.split("|")) <= measured()[str(selector.name)]["event"]


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in alerts()])
def test_every_alert_is_of_its_own_release_and_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    for selector in selectors(rule["expr"]):
        job = "@WORKERJOB@" if program_of(str(selector.name)) == "worker" else "@JOB@"
        assert str(selector.matchers).count(f'job="{job}"') == 1
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "@RUNBOOKS@"
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert anchor == rule["alert"].lower()
    assert rule["alert"] in headings


def test_every_runbook_is_of_an_alert() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    headings = re.findall(r"^### ((?:Inferqueue|InferenceQueue)\w+)$", text, re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in alerts())


def test_the_documented_metrics_are_all_that_there_are() -> None:
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in measured() if name.startswith("inferqueue_")}
    made = {name for name in names if not name.endswith("_created")}
    assert set(re.findall(r"`(inferqueue_\w+)`", (ROOT / "docs" / "operations.md").read_text())) == made


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in alerts()])
def test_every_label_in_an_alerts_text_is_one_that_it_has(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    top = promql_parser.parse(rule["expr"])
    while isinstance(top, promql_parser.BinaryExpr):
        top = top.lhs
    kept = top.modifier.labels if isinstance(top, promql_parser.AggregateExpr) and top.modifier else []
    labels = {label for selector in selectors(rule["expr"]) for label in measured()[str(selector.name)]}
    assert named <= (set(kept) if isinstance(top, promql_parser.AggregateExpr) else labels)


def test_the_dashboards_panels_lie_side_by_side_and_have_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboards_variables_are_those_that_it_uses() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == variables
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric = re.match(r"label_values\((\w+)", variable["definition"])
            assert metric is not None
            assert metric[1] in measured()


# ---- what the charts make of it ----


@pytest.fixture(scope="module")
def monitored() -> Manifests:
    switches = {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
    metrics = switches | {"dashboards": {"enabled": True, "labels": {"grafana_dashboard": "1"}}}
    return render(values={"metrics": metrics, "operator": {"metrics": switches}})


def test_each_pod_monitor_finds_the_port_of_its_pods_and_of_no_others(monitored: Manifests) -> None:
    for monitor in monitored.of("PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        found = [pod for pod in monitored.pods() if matches(monitor["spec"]["selector"], pod.labels)]
        components = {pod.labels["app.kubernetes.io/component"] for pod in found}
        assert components == {monitor["metadata"]["name"].rpartition("-")[2]}
        for pod in found:
            ports = [port for container in pod.containers for port in container.get("ports", ())]
            assert endpoint["port"] in {port["name"] for port in ports}


def test_every_program_has_a_pod_monitor(monitored: Manifests) -> None:
    names = sorted(monitor["metadata"]["name"] for monitor in monitored.of("PodMonitor"))
    assert names == ["queues-inferqueue-operator", "queues-inferqueue-proxy", "queues-inferqueue-worker"]


def test_the_queues_namespace_is_not_overwritten_by_the_operators(monitored: Manifests) -> None:
    (endpoint,) = monitored.one("PodMonitor", "-operator")["spec"]["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True


@pytest.mark.parametrize("rules", ["-inferqueue", "-operator"])
def test_the_alerts_look_at_the_job_of_the_pod_monitor(monitored: Manifests, rules: str) -> None:
    for group in monitored.one("PrometheusRule", rules)["spec"]["groups"]:
        for rule in group["rules"]:
            for selector in selectors(rule["expr"]):
                monitor = monitored.one("PodMonitor", f"-{program_of(str(selector.name))}")["metadata"]["name"]
                jobs = {matcher.value for matcher in selector.matchers.matchers if matcher.name == "job"}
                assert jobs == {f"{NAMESPACE}/{monitor}"}
            assert rule["annotations"]["runbook_url"].startswith("https://")


def test_the_dashboard_arrives_unharmed_and_can_be_found(monitored: Manifests) -> None:
    config = monitored.one("ConfigMap", "-dashboard")
    assert json.loads(config["data"]["inferqueue.json"]) == DASHBOARD
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    kinds = {item["kind"] for item in render()}
    assert not kinds & {"PodMonitor", "PrometheusRule"}
    assert not [item for item in render().of("ConfigMap") if item["metadata"]["name"].endswith("-dashboard")]


@pytest.mark.parametrize(
    ("chart", "switch"),
    [
        (RELEASE, "metrics.podMonitor.enabled"),
        (RELEASE, "operator.metrics.podMonitor.enabled"),
        (OPERATOR, "metrics.podMonitor.enabled"),
    ],
    ids=["release", "operator-in-release", "operator"],
)
def test_a_cluster_without_the_prometheus_operator_is_told_so(chart: Path, switch: str) -> None:
    with pytest.raises(RefusedError, match=f": {switch}: this cluster does not know monitoring.coreos.com/v1"):
        helm("template", "queues", str(chart), f"--set={switch}=true")
