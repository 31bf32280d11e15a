"""A release of our chart, installed, changed and removed as its users do."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from support.commands import run
from support.kubectl import Body, Kubectl

CHART = Path(__file__).parents[2] / "charts" / "inferqueue"


class Release:
    """A Helm release in a namespace."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self.kubectl = kubectl
        self.name = name
        self.fullname = name if "inferqueue" in name else f"{name}-inferqueue"

    def install(self, values: Mapping[str, Any], *, wait: bool = True) -> float:
        """Install it, and give the seconds until Helm calls it ready, unless nobody waits for that."""
        began = time.monotonic()
        patience = ("--wait", "--timeout=180s") if wait else ()
        self._helm("install", self.name, str(CHART), *patience, "--values=-", values=values)
        return time.monotonic() - began

    def upgrade(self, values: Mapping[str, Any]) -> None:
        self._helm("upgrade", self.name, str(CHART), "--wait", "--timeout=180s", "--values=-", values=values)

    def rollback(self) -> None:
        """Go back to the revision before the present one."""
        self._helm("rollback", self.name, "--wait", "--timeout=180s")

    def uninstall(self) -> None:
        self._helm("uninstall", self.name, "--wait", "--timeout=120s")

    def test(self) -> str:
        return self._helm("test", self.name, "--timeout=120s")

    def worker(self, key: str) -> str:
        """Name a worker's Deployment, which is the name of its InferenceQueue, too."""
        return f"{self.fullname}-worker-{key}"

    def selector(self, component: str, key: str = "") -> str:
        """Give the label selector of a component's pods; `key` picks one entry of `workers`."""
        parts = [f"app.kubernetes.io/instance={self.name}", f"app.kubernetes.io/component={component}"]
        return ",".join([*parts, f"inferqueue.dev/worker={key}"] if key else parts)

    def pods(self, component: str, key: str = "") -> list[Body]:
        """Give a component's pods that are not on their way out."""
        pods = self.kubectl.items("pods", self.selector(component, key))
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def replicas(self, key: str) -> int:
        """Give what a worker's Deployment is asked for."""
        return int(self.kubectl.json("get", "deployment", self.worker(key))["spec"]["replicas"])

    def _helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        place = ("--kube-context", self.kubectl.context, "--namespace", self.kubectl.namespace)
        stdin = None if values is None else yaml.safe_dump(dict(values))
        return run("helm", *arguments, *place, stdin=stdin, timeout=240)
