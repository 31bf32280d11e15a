"""skaffold.yaml: its fields are skaffold's, and every file, value and variable that it names is there."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[3]
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "skaffold-v4beta13.json").read_text())
(RELEASE,) = CONFIG["deploy"]["helm"]["releases"]
CHART = ROOT / RELEASE["chartPath"]


def values_of(chart: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((chart / "values.yaml").read_text())
    return values


def value_at(path: str) -> Any:
    """Read a value of the chart, or of the chart that it depends on, by its path."""
    whole = values_of(CHART)
    for dependency in yaml.safe_load((CHART / "Chart.yaml").read_text())["dependencies"]:
        name = dependency["alias"]
        whole[name] = values_of(CHART / "charts" / dependency["name"]) | whole[name]
    value: Any = whole
    for part in path.split("."):
        assert part in value, f"{RELEASE['chartPath']} has no value {path}"
        value = value[part]
    return value


def suffix(image: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", image)


def patched_values() -> dict[str, Any]:
    patches = [patch for profile in CONFIG["profiles"] for patch in profile["patches"]]
    return {name: value for patch in patches for name, value in patch["value"].items()}


def test_its_fields_are_skaffolds() -> None:
    jsonschema.validate(CONFIG, SCHEMA)


def test_a_field_of_another_name_would_be_noticed() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(CONFIG | {"deploys": {}}, SCHEMA)


@pytest.mark.parametrize("artifact", CONFIG["build"]["artifacts"], ids=lambda artifact: artifact["image"])
def test_each_image_has_its_dockerfile_in_the_context(artifact: dict[str, Any]) -> None:
    context = ROOT / artifact["context"]
    dockerfile = (context / artifact["docker"]["dockerfile"]).read_text()
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        assert all((context / path).exists() for path in source.split()), source


@pytest.mark.parametrize("path", [*RELEASE["setValueTemplates"], *patched_values()])
def test_each_value_that_is_set_is_one_of_the_charts(path: str) -> None:
    value_at(path)


@pytest.mark.parametrize("image", [artifact["image"] for artifact in CONFIG["build"]["artifacts"]])
def test_the_chart_gets_each_image_where_it_names_it_by_default(image: str) -> None:
    templates = RELEASE["setValueTemplates"]
    place = next(path for path, text in templates.items() if text == f"{{{{.IMAGE_TAG_{suffix(image)}}}}}")
    parent = place.removesuffix(".tag")
    assert f"{value_at(f'{parent}.registry')}/{value_at(f'{parent}.repository')}" == image
    assert templates[f"{parent}.registry"] == f"{{{{.IMAGE_DOMAIN_{suffix(image)}}}}}"
    assert templates[f"{parent}.repository"] == f"{{{{.IMAGE_REPO_NO_DOMAIN_{suffix(image)}}}}}"


def test_every_variable_is_of_an_image_that_is_built() -> None:
    images = "|".join(suffix(artifact["image"]) for artifact in CONFIG["build"]["artifacts"])
    variable = re.compile(rf"\{{\{{\.IMAGE_(DOMAIN|REPO_NO_DOMAIN|TAG)_({images})\}}\}}")
    assert all(variable.fullmatch(text) for text in RELEASE["setValueTemplates"].values())


def test_the_forwarded_service_is_the_releases() -> None:
    (forward,) = CONFIG["portForward"]
    assert forward["resourceName"] == f"{RELEASE['name']}-proxy"
    assert forward["namespace"] == RELEASE["namespace"]
    assert forward["port"] == value_at("proxy.service.port")


def test_the_profile_for_kind_answers_to_our_own_cluster() -> None:
    (profile,) = CONFIG["profiles"]
    name = yaml.safe_load((ROOT / "k8s" / "kind.yaml").read_text())["name"]
    assert any(re.fullmatch(entry["kubeContext"], f"kind-{name}") for entry in profile["activation"])
