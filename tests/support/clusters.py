"""A kind cluster of two nodes with an ingress controller, made with the commands that any user would type."""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from support.commands import run
from support.kubectl import Kubectl
from support.ports import free_port

ROOT = Path(__file__).parents[2]
CONTOUR = "https://raw.githubusercontent.com/projectcontour/contour/v1.33.8/examples/render/contour.yaml"
# What kind gives to its control plane alone; without it pods run on both nodes.
_TAINT = "node-role.kubernetes.io/control-plane"


class Cluster:
    """A kind cluster by name, which may be there already; `port` on 127.0.0.1 leads to its ingress controller."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kubectl = Kubectl(f"kind-{name}")

    @property
    def control_plane(self) -> str:
        return f"{self.name}-control-plane"

    @property
    def port(self) -> int:
        """The host's port that Docker leads to port 80 of the node."""
        first_line = run("docker", "port", self.control_plane, "80/tcp").splitlines()[0]
        return int(first_line.rpartition(":")[2])

    def exists(self) -> bool:
        return self.name in run("kind", "get", "clusters").split()

    def create(self, node_image: str) -> None:
        """Create it with two nodes for pods; `node_image` '' is kind's own choice."""
        image = ("--image", node_image) if node_image else ()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
            yaml.safe_dump(_config(free_port()), config)
            config.flush()
            self._tell("kind", "create", "cluster", "--name", self.name, "--config", config.name, *image)
        self.kubectl.run("taint", "nodes", self.control_plane, f"{_TAINT}-")
        self.kubectl.run("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=180s", timeout=200)

    def delete(self) -> None:
        self._tell("kind", "delete", "cluster", "--name", self.name)

    def load(self, *images: str) -> None:
        """Bring images of this machine's Docker to both nodes."""
        self._tell("kind", "load", "docker-image", *images, "--name", self.name)

    def install_ingress(self, command: str) -> None:
        """Install an ingress controller: by `command CLUSTER`, or Contour's published manifest where that is ''."""
        if command:
            self._tell(command, self.name)
            return
        self.kubectl.run("apply", "--filename", CONTOUR)
        contour = self.kubectl.within("projectcontour")
        for workload in ("deployment/contour", "daemonset/envoy"):
            contour.run("rollout", "status", workload, "--timeout=300s", timeout=320)

    def nodes(self) -> list[str]:
        return [node["metadata"]["name"] for node in self.kubectl.json("get", "nodes")["items"]]

    def _tell(self, *command: str) -> None:
        """Run a command whose progress the user may watch."""
        print(f"$ {' '.join(command)}", file=sys.stderr, flush=True)
        subprocess.run(command, check=True, stdout=sys.stderr)


def _config(port: int) -> dict[str, object]:
    mapping = {"containerPort": 80, "hostPort": port, "listenAddress": "127.0.0.1"}
    nodes = [{"role": "control-plane", "extraPortMappings": [mapping]}, {"role": "worker"}]
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}


def build_images(version: str) -> list[str]:
    """Build our three images from this checkout; give their names."""
    images = []
    for program in ("proxy", "worker", "operator"):
        image = f"ghcr.io/inferqueue/inferqueue-{program}:{version}"
        print(f"$ docker build --tag {image} --file {program}/Dockerfile .", file=sys.stderr, flush=True)
        run("docker", "build", "--tag", image, "--file", f"{ROOT / program}/Dockerfile", str(ROOT), timeout=1800)
        images.append(image)
    return images
