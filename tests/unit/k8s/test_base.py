"""k8s/base: what the charts make today, without a password, and fit for kustomize."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.charts import helm_program

ROOT = Path(__file__).parents[3]
BASE = ROOT / "k8s" / "base"
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="builds with `kubectl`: not on PATH")


def objects(folder: Path) -> dict[str, list[Any]]:
    return {path.name: list(yaml.safe_load_all(path.read_text())) for path in folder.glob("*.yaml")}


def test_it_is_what_the_charts_make_today(tmp_path: Path) -> None:
    helm_program()
    subprocess.run([sys.executable, ROOT / "k8s" / "render.py", tmp_path], check=True)
    assert objects(tmp_path) == objects(BASE), "the charts have changed: run `make manifests`"


@needs_kubectl
def test_kustomize_builds_it() -> None:
    built = subprocess.run(["kubectl", "kustomize", BASE], check=True, capture_output=True, text=True).stdout
    made = [(body["kind"], body["metadata"]["name"]) for body in yaml.safe_load_all(built)]
    (kustomization,) = objects(BASE).pop("kustomization.yaml")
    files = [objects(BASE)[name] for name in kustomization["resources"]]
    assert sorted(made) == sorted((body["kind"], body["metadata"]["name"]) for file in files for body in file)


def test_it_names_the_secret_of_redis_and_holds_none() -> None:
    bodies = [body for file in objects(BASE).values() for body in file]
    assert not [body for body in bodies if body["kind"] == "Secret"]
    queues = [body for body in bodies if body["kind"] == "InferenceQueue"]
    assert {queue["spec"]["queue"]["redis"]["secretRef"]["name"] for queue in queues} == {"inferqueue-redis"}


def test_nothing_in_it_says_that_helm_manages_it() -> None:
    for path in BASE.glob("*.yaml"):
        assert "helm" not in path.read_text().lower(), path.name


def test_all_of_it_is_in_the_namespace_for_which_the_operator_was_told() -> None:
    bodies = [body for name, file in objects(BASE).items() for body in file if name != "kustomization.yaml"]
    assert {body["metadata"].get("namespace") for body in bodies} == {"inferqueue", None}
    outside = [body["kind"] for body in bodies if body["metadata"].get("namespace") is None]
    assert outside == ["CustomResourceDefinition"]
