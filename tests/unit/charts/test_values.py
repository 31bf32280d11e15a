"""Values: each is described and declared, and wrong ones are refused in a sentence that names the key."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferqueue_core.keys import check_queue_name
from inferqueue_core.queue_settings import QueueSettings
from support.charts import CHARTS, OPERATOR, RELEASE, Object, helm_program, refusal, render

every_chart = pytest.mark.parametrize("chart", [RELEASE, OPERATOR], ids=lambda chart: chart.name)


def nested(path: str, value: Any) -> Object:
    """Give the values in which one key has a value: `a.b` and 1 are {a: {b: 1}}."""
    for name in reversed(path.split("/")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def case_name(case: Object) -> str:
    return f"{case.get('release', '')} {case['values']} {case.get('kubernetes', '')}"[:80]


REFUSALS: list[Object] = yaml.safe_load(Path(__file__).with_name("refusals.yaml").read_text())


@pytest.mark.parametrize("case", REFUSALS, ids=case_name)
def test_what_cannot_be_meant_is_refused_in_a_sentence(case: Object) -> None:
    chart = CHARTS / case.get("chart", "inferqueue")
    cluster = {"kubernetes": case.get("kubernetes", "1.34.0"), "release": case.get("release", "queues")}
    assert refusal(chart, **cluster, **case["values"]) == case["sentence"]


# What the schema refuses: values by key, and what helm must say, in the words of either version.
MISFITS = [
    ("proxy/replica", 3, r"proxy.*[Aa]dditional propert.*replica"),
    ("prox", {}, r"[Aa]dditional propert.*prox"),
    ("proxy/replicas", "two", r"proxy.replicas.*string.*integer|proxy.replicas.*integer.*string"),
    ("proxy/replicas", 0, r"proxy.replicas.*1"),
    ("redis/appendFsync", "no", r"redis.appendFsync.*everysec.*always"),
    ("redis/image/pullPolicy", "Sometimes", r"redis.image.pullPolicy.*Always.*IfNotPresent.*Never"),
    ("redis/persistence/whenDeleted", "Keep", r"redis.persistence.whenDeleted.*Retain.*Delete"),
    ("workers/iris/maxReplicas", 0, r"workers.iris.maxReplicas.*1"),
    ("workers/iris/resource", {}, r"workers.iris.*[Aa]dditional propert.*resource"),
    ("workers/iris/objective/maxWait", 3, r"workers.iris.objective.*[Aa]dditional propert.*maxWait"),
    ("workers/iris/terminationGracePeriodSeconds", 3, r"workers.iris.terminationGracePeriodSeconds.*5"),
    ("workerDefaults/env", {"A": ["b"]}, r"workerDefaults.env.A"),
    ("workers", [{"name": "iris"}], r"workers"),
    ("operator/watchNamespace", "a", r"operator.*[Aa]dditional propert.*watchNamespace"),
    ("global/imagePullSecrets", ["mirror"], r"global.imagePullSecrets.0"),
    ("global/imageRegistry", "a b", r"global.imageRegistry.*match"),
    ("global", None, r"global"),
    ("proxy/image/tag", "a b", r"proxy.image.tag.*match"),
    ("proxy/extraEnv", [{"name": "A", "value": 2}], r"proxy.extraEnv.0.value.*string"),
    ("proxy/ingress/hosts", ["https://a.example.com"], r"proxy.ingress.hosts.0.*match"),
    ("proxy/ingress/tls", [{"secret": "a"}], r"proxy.ingress.tls.0.*[Aa]dditional propert.*secret"),
    ("proxy/apiKeys/key", "a: b", r"proxy.apiKeys.key.*match"),
    ("proxy/nodeSelector", {"a b": "c"}, r"proxy.nodeSelector.*a b"),
    ("queue/maxLength", 10**24, r"queue.maxLength.*(maximum|less than)"),
    ("proxy/maxBodyBytes", 2**40, r"proxy.maxBodyBytes.*5"),
    ("proxy/replicas", 1_000_000, r"proxy.replicas.*1,?000"),
    ("redis/auth/existingSecret", "A", r"redis.auth.existingSecret.*match"),
    ("redis/persistence/size", "much", r"redis.persistence.size.*match"),
    ("redis/startupSeconds", 1_000_000, r"redis.startupSeconds.*86,?400"),
    ("workers/iris/env", {"A=": "b"}, r"workers.iris.env.*A="),
    ("workers/iris/maxResultBytes", 2**30, r"workers.iris.maxResultBytes.*5"),
    ("workers/iris/predictor", "mine", r"workers.iris.predictor.*match"),
    ("workers/iris/models/subPath", "/a", r"workers.iris.models.subPath.*match"),
    ("commonLabels", {"a": "b c"}, r"commonLabels.a.*match"),
    ("metrics/podMonitor/interval", "15", r"metrics.podMonitor.interval.*match"),
    ("commonLabels", {"-a/b": "c"}, r"commonLabels.*-a.b"),
    ("redis/persistence/size", "0Gi", r"redis.persistence.size.*match"),
    ("proxy/resources/limits/cpu", "half", r"proxy.resources.limits.cpu.*match"),
    ("operator/resources/requests/memory", "96MB", r"resources.requests.memory.*match"),
    ("workers/iris/resources/limits/memory", "-1Gi", r"workers.iris.resources.limits.memory.*match"),
    ("workers/iris/model", "vision/iris", r"workers.iris.model.*match"),
    ("workers/iris/model", "..", r"workers.iris.model.*match"),
    (
        "proxy/topologySpread",
        [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "Never"}],
        r"proxy.topologySpread.0.whenUnsatisfiable.*DoNotSchedule",
    ),
    ("proxy", None, r"proxy"),
    ("redis/persistence", None, r"redis.*persistence"),
]


@pytest.mark.parametrize(("path", "value", "words"), MISFITS, ids=[f"{path}={value}" for path, value, _ in MISFITS])
@pytest.mark.parametrize("variable", ["", "HELM3"])
def test_the_schema_names_the_key_that_does_not_fit(path: str, value: Any, words: str, variable: str) -> None:
    said = refusal(program=helm_program(variable), **nested(path, value)).replace("/", ".")
    assert re.search(words, said), said


def test_the_charts_may_be_parts_of_another_one() -> None:
    render(OPERATOR, values={"enabled": True, "global": {"something": "else"}})
    render(values={"global": {"something": "else"}})


@pytest.mark.parametrize(
    "name", ["q:leases", "q:workers:reports", "q:decision", "job:q", "idem:q", "models", "q/1", "é", "q" * 201]
)
def test_names_that_no_queue_may_have_are_refused_as_by_the_programs(name: str) -> None:
    with pytest.raises(ValueError, match="is not usable"):
        check_queue_name(name)
    assert refusal(workers={"a": {"queue": name}}).startswith(f'workers.a.queue: "{name}" is ')


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("jobTtlSeconds", "job_ttl"),
        ("queueTtlSeconds", "queue_ttl"),
        ("idempotencyTtlSeconds", "idempotency_ttl"),
        ("deadTtlSeconds", "dead_ttl"),
        ("deadMaxBytes", "dead_max_bytes"),
        ("predictionTimeoutSeconds", "prediction_timeout"),
        ("leaseSeconds", "lease_seconds"),
        ("maxAttempts", "max_attempts"),
    ],
)
@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_the_programs_take_all_that_the_schema_lets_through(key: str, setting: str, bound: str) -> None:
    schema = json.loads((RELEASE / "values.schema.json").read_text())
    value = schema["properties"]["queue"]["properties"][key][bound]
    QueueSettings.checked(**{"job_ttl": 2_592_000, "lease_seconds": 0.5, setting: value})


@pytest.mark.parametrize("quantity", [0, 0.5, 536870912, 1e9, "2", "1.5Gi", "1G", "100m", "2E", ".5", "1E+3"], ids=repr)
def test_quantities_of_any_form_are_taken(quantity: str | float) -> None:
    values = {"resources": {"requests": {"cpu": quantity}}}
    render(values={"proxy": values, "workerDefaults": values, "operator": values})


@every_chart
def test_every_value_is_declared_and_every_declared_value_has_a_default(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text())
    schema = json.loads((chart / "values.schema.json").read_text())
    # A worker's own model and queue have no default, nor has what the chart around an operator says of it.
    without = {"workerDefaults.model", "workerDefaults.queue", "enabled"}
    assert set(leaves(schema, schema, "")) - without == set(paths(values, schema, ""))


def leaves(schema: Object, root: Object, path: str) -> Iterator[str]:
    """Give the dotted path of every value that a schema declares."""
    schema = resolved(schema, root)
    for name, inner in schema.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        if is_section(inner, root):
            yield from leaves(inner, root, below)
        else:
            yield below


def paths(values: Object, schema: Object, path: str, root: Object | None = None) -> Iterator[str]:
    """Give the dotted path of every value in values.yaml, as deep as the schema goes."""
    root = root or schema
    declared = resolved(schema, root).get("properties", {})
    for name, value in values.items():
        below = f"{path}.{name}" if path else name
        if is_section(declared.get(name, {}), root):
            yield from paths(value, declared[name], below, root)
        else:
            yield below


def resolved(schema: Object, root: Object) -> Object:
    (reference,) = (part.get("$ref") for part in schema.get("allOf", [schema]))
    found: Object = schema if reference is None else root["definitions"][reference.rpartition("/")[2]]
    return found


def is_section(schema: Object, root: Object) -> bool:
    """Tell whether a schema lists keys that all have defaults; Kubernetes' own maps and choices have none."""
    named = resolved(schema, root).get("properties", {})
    return bool(named) and not {"maxWaitSeconds", "afterSeconds", "requests"} & named.keys()
