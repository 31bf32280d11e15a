"""The proxy: how it is reached, how it is rolled out, how it scales."""

from typing import Any

import yaml

from inferqueue_proxy.main import GRACE_SECONDS
from inferqueue_proxy.settings import ProxySettings
from support.charts import RELEASE, environment, every_file, render


@every_file
def test_the_proxy_understands_what_it_is_told(chart: Any, file: Any) -> None:
    for pod in render(chart, file).pods():
        if pod.labels["app.kubernetes.io/component"] == "proxy":
            told = {name: value for name, value in environment(pod, "proxy").items() if isinstance(value, str)}
            # What only the cluster has.
            elsewhere = {"REDIS_URL": "rediss://redis:6379/0", "REDIS_TLS_CA_FILE": ""}
            settings = ProxySettings.from_environment(told | elsewhere)
            assert settings.queue_name == told["QUEUE_NAME"]
            assert str(settings.max_body_bytes) == told["MAX_BODY_BYTES"]


def test_a_rollout_takes_no_pod_before_there_is_another() -> None:
    deployment = render().one("Deployment", "-proxy")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_pod_that_goes_has_time_to_be_forgotten_and_to_answer() -> None:
    pod = render(values={"proxy": {"preStopSeconds": 7}}).pod("-proxy")
    assert pod.container("proxy")["lifecycle"]["preStop"] == {"exec": {"command": ["sleep", "7"]}}
    assert pod.spec["terminationGracePeriodSeconds"] > 7 + GRACE_SECONDS


def test_an_autoscaler_owns_the_replicas() -> None:
    objects = render(values={"proxy": {"autoscaling": {"enabled": True, "maxReplicas": 9}}})
    assert "replicas" not in objects.one("Deployment", "-proxy")["spec"]
    scaler = objects.one("HorizontalPodAutoscaler", "-proxy")["spec"]
    assert (scaler["scaleTargetRef"]["name"], scaler["maxReplicas"]) == ("queues-inferqueue-proxy", 9)


def test_an_ingress_for_each_host() -> None:
    ingress = render(RELEASE, RELEASE / "ci" / "ingress-values.yaml").one("Ingress", "-proxy")
    assert ingress["metadata"]["annotations"] == {"projectcontour.io/response-timeout": "90s"}
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["inference.example.com", "inference.example.org"]
    for rule in ingress["spec"]["rules"]:
        (path,) = rule["http"]["paths"]
        assert path["backend"]["service"] == {"name": "queues-inferqueue-proxy", "port": {"name": "http"}}


def test_an_ingress_without_a_host_takes_all() -> None:
    ingress = render(values={"proxy": {"ingress": {"enabled": True}}}).one("Ingress", "-proxy")
    assert [sorted(rule) for rule in ingress["spec"]["rules"]] == [["http"]]


def test_the_values_say_how_each_controller_is_told_to_wait() -> None:
    text = (RELEASE / "values.yaml").read_text()
    for controller in ("Contour", "nginx", "HAProxy", "AWS", "Google Cloud", "Traefik"):
        assert f"#   {controller}" in text


def test_a_route_waits_longer_than_a_request_may_ask_for() -> None:
    route = render(RELEASE, RELEASE / "ci" / "httproute-values.yaml").one("HTTPRoute", "-proxy")["spec"]
    (rule,) = route["rules"]
    assert rule["timeouts"] == {"request": "90s"}
    assert rule["backendRefs"] == [{"name": "queues-inferqueue-proxy", "port": 80}]
    assert route["parentRefs"] == [{"name": "public", "namespace": "gateways", "sectionName": "https"}]


def test_api_keys_are_a_file_that_may_change() -> None:
    objects = render(values={"proxy": {"apiKeys": {"existingSecret": "keys", "key": "list"}}})
    for owner, container in (("-proxy", "proxy"), ("-test", "predict")):
        pod = objects.pod(owner)
        assert environment(pod, container)["API_KEYS_FILE"] == "/etc/inferqueue/api-keys/list"
        (mount,) = (entry for entry in pod.container(container)["volumeMounts"] if entry["name"] == "api-keys")
        # What is mounted with subPath is never brought up to date.
        assert mount == {"name": "api-keys", "mountPath": "/etc/inferqueue/api-keys", "readOnly": True}


def test_a_service_of_another_type() -> None:
    service = render(values={"proxy": {"service": {"type": "NodePort", "port": 8080, "nodePort": 30080}}})
    (port,) = service.one("Service", "-proxy")["spec"]["ports"]
    assert (port["port"], port["targetPort"], port["nodePort"]) == (8080, "http", 30080)


def test_the_default_queue_is_the_one_of_the_example() -> None:
    values = yaml.safe_load((RELEASE / "values.yaml").read_text())
    assert values["proxy"]["defaultQueue"] == values["workers"]["iris"]["queue"]
