"""The project's charts, rendered by the real helm, and what is asked of the objects."""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

CHARTS = Path(__file__).parents[2] / "charts"
RELEASE = CHARTS / "inferqueue"
OPERATOR = CHARTS / "inferqueue-operator"
NAMESPACE = "inference"

Object = dict[str, Any]

every_file = pytest.mark.parametrize(
    ("chart", "file"),
    [
        pytest.param(chart, file, id=f"{chart.name}-{file.name.removesuffix('-values.yaml')}")
        for chart in (RELEASE, OPERATOR)
        for file in sorted((chart / "ci").glob("*-values.yaml"))
    ],
)


class RefusedError(Exception):
    """Helm does not render these values; the text is what it says."""


@dataclass(frozen=True)
class Pod:
    """A pod that the chart brings, by itself or as the template of a workload."""

    owner: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        """All its containers, those that run first too."""
        found: list[Object] = self.spec.get("initContainers", []) + self.spec["containers"]
        return found

    def container(self, name: str) -> Object:
        return next(container for container in self.containers if container["name"] == name)


class Manifests(list[Object]):
    """What helm has rendered."""

    def of(self, kind: str) -> list[Object]:
        return [item for item in self if item["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        """Give the object whose name ends with `name`."""
        (found,) = (item for item in self.of(kind) if item["metadata"]["name"].endswith(name))
        return found

    def pods(self) -> Iterator[Pod]:
        for item in self:
            template = item if item["kind"] == "Pod" else item.get("spec", {}).get("template")
            if template is not None:
                metadata = template["metadata"]
                owner = f"{item['kind']}/{item['metadata']['name']}"
                yield Pod(owner, metadata.get("labels", {}), metadata.get("annotations") or {}, template["spec"])

    def pod(self, owner: str) -> Pod:
        """Give the pod of the object whose name ends with `owner`."""
        (found,) = (pod for pod in self.pods() if pod.owner.endswith(owner))
        return found


def environment(pod: Pod, container: str) -> dict[str, Any]:
    """Give a container's variables: the value, or where it comes from."""
    return {env["name"]: env.get("value", env.get("valueFrom")) for env in pod.container(container)["env"]}


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector of plain labels picks these labels."""
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def helm_program(variable: str = "") -> str:
    """Find helm on PATH, or the one that an environment variable names."""
    if variable and variable not in os.environ:
        pytest.skip(f"{variable} does not name a second helm")
    found = shutil.which(os.environ[variable] if variable else "helm")
    if found is None:
        pytest.fail(f"{variable or 'helm'}: there is no such program; the charts' tests need Helm 3 or 4 on PATH")
    return found


@functools.cache
def _homes() -> Mapping[str, str]:
    # No plugins, repositories or clusters of whoever runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="iq-helm-"))
    folder.joinpath("kubeconfig").write_text("{apiVersion: v1, kind: Config}")
    homes = {f"HELM_{name}_HOME": str(folder / name) for name in ("CACHE", "CONFIG", "DATA")}
    return os.environ | homes | {"KUBECONFIG": str(folder / "kubeconfig")}


def helm(*arguments: str, program: str = "", stdin: str = "") -> str:
    """Run helm and give what it writes; raises RefusedError."""
    command = (program or helm_program(), *arguments)
    done = subprocess.run(command, input=stdin, env=_homes(), capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RefusedError(done.stderr)
    return done.stdout


@functools.lru_cache(maxsize=64)
def _rendered(
    program: str, release: str, chart: Path, files: tuple[Path, ...], values: str, kubernetes: str
) -> Manifests:
    named = [f"--values={file}" for file in files]
    cluster = (f"--namespace={NAMESPACE}", f"--kube-version={kubernetes}", "--api-versions=monitoring.coreos.com/v1")
    text = helm("template", release, str(chart), *cluster, *named, "--values=-", program=program, stdin=values)
    return Manifests(item for item in yaml.load_all(text, Loader=yaml.CSafeLoader) if item)


def render(
    chart: Path = RELEASE,
    *files: Path,
    values: Mapping[str, Any] | None = None,
    release: str = "queues",
    kubernetes: str = "1.34.0",
    program: str = "",
) -> Manifests:
    """Render a release in the namespace `inference`; raises RefusedError. The same values give the same objects."""
    return _rendered(program or helm_program(), release, chart, files, yaml.safe_dump(dict(values or {})), kubernetes)


def refusal(
    chart: Path = RELEASE,
    *,
    program: str = "",
    kubernetes: str = "1.34.0",
    release: str = "queues",
    **values: Any,
) -> str:
    """Give the one sentence with which helm refuses these values."""
    with pytest.raises(RefusedError) as refused:
        render(chart, values=values, program=program, kubernetes=kubernetes, release=release)
    lines = [line for line in str(refused.value).splitlines() if line and "symbolic link" not in line]
    text = " ".join(line for line in lines if not line.startswith("Use --debug"))
    return re.sub(r"^.*execution error at \([^)]*\): ", "", text)
