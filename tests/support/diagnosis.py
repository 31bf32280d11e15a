"""What is kept of a cluster when a test has failed: objects, events, descriptions and logs, a file each."""

from pathlib import Path

from support.commands import CommandFailedError
from support.kubectl import Kubectl

_VIEWS = {
    "objects.txt": ("get", "all,inferencequeues,ingresses,networkpolicies,persistentvolumeclaims", "--output=wide"),
    "pods.yaml": ("get", "pods", "--output=yaml"),
    "deployments.yaml": ("get", "deployments,statefulsets", "--output=yaml"),
    "inferencequeues.yaml": ("get", "inferencequeues", "--output=yaml"),
    "pods.txt": ("describe", "pods"),
    "inferencequeues.txt": ("describe", "inferencequeues"),
    "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
}


def collect(kubectl: Kubectl, folder: Path) -> None:
    """Write everything about a namespace into a folder; what cannot be read leaves its reason there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, command in _VIEWS.items():
        (folder / name).write_text(_output(kubectl, *command))
    (folder / "nodes.txt").write_text(_output(kubectl, "describe", "nodes"))
    for pod in _output(kubectl, "get", "pods", "--output=name").splitlines():
        name = pod.rpartition("/")[2]
        (folder / f"{name}.log").write_text(_output(kubectl, "logs", pod, "--all-containers", "--timestamps"))
        previous = _output(kubectl, "logs", pod, "--all-containers", "--previous")
        if "not found" not in previous:
            (folder / f"{name}.previous.log").write_text(previous)


def _output(kubectl: Kubectl, *command: str) -> str:
    try:
        return kubectl.run(*command)
    except CommandFailedError as error:
        return str(error)
