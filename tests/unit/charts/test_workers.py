"""Workers: what each entry of `workers` becomes, and what it has from `workerDefaults`."""

import json
from typing import Any

import pytest

from inferqueue_worker.settings import WorkerSettings
from support.charts import RELEASE, Object, environment, every_file, render

MULTI = RELEASE / "ci" / "multi-model-values.yaml"


def queue_of(worker: Object, defaults: Object | None = None) -> Object:
    objects = render(values={"workers": {"iris": worker}, "workerDefaults": defaults or {}})
    spec: Object = objects.one("InferenceQueue", "-worker-iris")["spec"]
    return spec


@every_file
def test_the_operator_alone_says_how_many_workers_there_are(chart: Any, file: Any) -> None:
    objects = render(chart, file)
    for queue in objects.of("InferenceQueue"):
        target = queue["spec"]["scaleTargetRef"]["name"]
        assert target == queue["metadata"]["name"]
        assert "replicas" not in objects.one("Deployment", target)["spec"]


def test_each_entry_is_a_deployment_and_a_queue() -> None:
    objects = render(RELEASE, MULTI)
    names = [f"queues-inferqueue-worker-{key}" for key in ("embedding", "ranking", "transcripts")]
    assert [item["metadata"]["name"] for item in objects.of("InferenceQueue")] == names
    assert [name for item in objects.of("Deployment") if "-worker-" in (name := item["metadata"]["name"])] == names
    assert {item["spec"]["queue"]["name"] for item in objects.of("InferenceQueue")} == {
        "predict_queue",
        "embedding",
        "audio:transcripts",
    }


def test_the_example_can_be_taken_away() -> None:
    assert render(values={"workers": {"iris": None}}).of("InferenceQueue") == []


def test_a_worker_is_told_what_it_serves_and_who_it_is() -> None:
    variables = environment(render(RELEASE, MULTI).pod("-worker-transcripts"), "worker")
    assert variables["MODEL_NAME"] == "transcripts"
    assert variables["QUEUE_NAME"] == "audio:transcripts"
    assert variables["PREDICTOR"] == "transcripts:make"
    assert variables["MODEL_REPOSITORY"] == "/models"
    assert variables["WORKER_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert variables["WORKER_IMAGE"] == "registry.example.com/speech/worker:2.1.0"
    assert variables["PREDICTION_TIMEOUT"] == "600"
    assert variables["GRACE_SECONDS"] == "600"
    assert variables["MAX_RESULT_BYTES"] == "67108864"


@every_file
def test_a_worker_understands_what_it_is_told(chart: Any, file: Any) -> None:
    for pod in render(chart, file).pods():
        if pod.labels["app.kubernetes.io/component"] == "worker":
            told = {name: value for name, value in environment(pod, "worker").items() if isinstance(value, str)}
            # What only the cluster has.
            elsewhere = {"REDIS_URL": "rediss://redis:6379/0", "REDIS_TLS_CA_FILE": ""}
            settings = WorkerSettings.from_environment(told | elsewhere)
            assert settings.queue_name == told["QUEUE_NAME"]
            assert str(settings.max_result_bytes) == told["MAX_RESULT_BYTES"]
            assert settings.grace_seconds < pod.spec["terminationGracePeriodSeconds"]


def test_the_longest_run_fits_into_the_grace_period() -> None:
    pod = render().pod("-worker-iris")
    variables = environment(pod, "worker")
    assert float(variables["GRACE_SECONDS"]) > float(variables["PREDICTION_TIMEOUT"])


def test_the_longest_run_that_may_be_allowed_has_a_grace_period_that_may_be_asked_for() -> None:
    schema = json.loads((RELEASE / "values.schema.json").read_text())
    longest = schema["properties"]["queue"]["properties"]["predictionTimeoutSeconds"]["maximum"]
    worker = {"iris": {"terminationGracePeriodSeconds": longest + 5}}
    pod = render(values={"queue": {"predictionTimeoutSeconds": longest}, "workers": worker}).pod("-worker-iris")
    told = {name: value for name, value in environment(pod, "worker").items() if isinstance(value, str)}
    settings = WorkerSettings.from_environment(told | {"REDIS_URL": "redis://redis"})
    assert settings.grace_seconds >= settings.prediction_timeout == longest


def test_a_worker_says_itself_what_the_defaults_say_otherwise() -> None:
    spec = queue_of({"minReplicas": 0, "suspend": False}, {"minReplicas": 3, "maxReplicas": 7, "suspend": True})
    assert (spec["minReplicas"], spec["maxReplicas"]) == (0, 7)
    assert "suspend" not in spec


def test_a_queue_is_suspended_by_the_values_or_left_to_whoever_does_it_by_hand() -> None:
    assert queue_of({"suspend": True})["suspend"] is True
    # What Helm does not write it does not change either; `suspend: false` would be a conflict with the hand.
    assert "suspend" not in queue_of({})


@pytest.mark.parametrize(
    ("own", "defaults"),
    [
        ({"runAsUser": None}, {}),
        ({}, {"runAsUser": None}),
        ({"runAsUser": None}, {"runAsUser": 7}),
    ],
)
def test_a_worker_may_leave_its_user_to_the_cluster(own: Object, defaults: Object) -> None:
    values = {"workers": {"iris": {"podSecurityContext": own}}, "workerDefaults": {"podSecurityContext": defaults}}
    context = render(values=values).pod("-worker-iris").spec["securityContext"]
    assert "runAsUser" not in context
    assert context["runAsNonRoot"] is True


def test_lists_are_taken_whole_and_maps_merged() -> None:
    defaults = {"nodeSelector": {"a": "1", "b": "1"}, "tolerations": [{"key": "a", "operator": "Exists"}]}
    own = {"nodeSelector": {"b": "2", "c": "2"}, "tolerations": []}
    pod = render(values={"workers": {"iris": own}, "workerDefaults": defaults}).pod("-worker-iris")
    assert pod.spec["nodeSelector"] == {"a": "1", "b": "2", "c": "2"}
    assert "tolerations" not in pod.spec


@pytest.mark.parametrize(
    ("own", "defaults", "objective"),
    [
        ({}, {}, None),
        ({"maxWaitSeconds": 5}, {}, {"maxWaitSeconds": 5}),
        ({}, {"backlogPerReplica": 1_000_000}, {"backlogPerReplica": 1_000_000}),
        ({"backlogPerReplica": 8, "maxWaitSeconds": None}, {"maxWaitSeconds": 5}, {"backlogPerReplica": 8}),
        ({"maxWaitSeconds": None}, {}, None),
    ],
)
def test_the_objective_is_one_of_two(own: Object, defaults: Object, objective: Object | None) -> None:
    assert queue_of({"objective": own}, {"objective": defaults}).get("objective") == objective


def test_values_of_any_plain_type_become_variables() -> None:
    worker = {"env": {"A": 3, "B": 0.5, "C": True, "D": "x", "MAX_BATCH_BYTES": 16777216, "GONE": None}}
    variables = environment(render(values={"workers": {"iris": worker}}).pod("-worker-iris"), "worker")
    assert {name: variables[name] for name in "ABCD"} == {"A": "3", "B": "0.5", "C": "true", "D": "x"}
    assert variables["MAX_BATCH_BYTES"] == "16777216"
    assert "GONE" not in variables


def test_a_predictor_comes_from_a_config_map() -> None:
    worker = {
        "predictor": "mine:make",
        "extraVolumes": [{"name": "code", "configMap": {"name": "predictors"}}],
        "extraVolumeMounts": [{"name": "code", "mountPath": "/code", "readOnly": True}],
        "extraEnv": [{"name": "PYTHONPATH", "value": "/code"}],
    }
    pod = render(values={"workers": {"iris": worker}}).pod("-worker-iris")
    assert environment(pod, "worker")["PYTHONPATH"] == "/code"
    assert {"name": "code", "configMap": {"name": "predictors"}} in pod.spec["volumes"]


@pytest.mark.parametrize(
    ("models", "volume", "mount"),
    [
        ({}, None, None),
        (
            {"existingClaim": "models"},
            {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
            {"mountPath": "/models", "readOnly": True},
        ),
        (
            {"image": "registry.example.com/models:7", "subPath": "onnx"},
            {"image": {"reference": "registry.example.com/models:7", "pullPolicy": "IfNotPresent"}},
            {"mountPath": "/models", "readOnly": True, "subPath": "onnx"},
        ),
    ],
)
def test_models_come_from_the_image_a_claim_or_an_image_volume(models: Object, volume: Any, mount: Any) -> None:
    pod = render(values={"workerDefaults": {"models": models}}).pod("-worker-iris")
    volumes = [entry for entry in pod.spec["volumes"] if entry["name"] == "models"]
    mounts = [entry for entry in pod.container("worker")["volumeMounts"] if entry["name"] == "models"]
    assert volumes == ([] if volume is None else [{"name": "models"} | volume])
    assert mounts == ([] if mount is None else [{"name": "models"} | mount])
