"""The operator as a process, under RBAC with exactly its Role."""

from pathlib import Path

from support.api_servers import Namespace
from support.programs import Program


class Operator(Program):
    """An operator that serves one namespace; further settings by name."""

    module = "inferqueue_operator"

    def __init__(self, redis_url: str, namespace: Namespace, folder: Path, **settings: str) -> None:
        kubeconfig = namespace.server.kubeconfig(folder, "operator")
        environment = {
            "REDIS_URL": redis_url,
            "HOST": "127.0.0.1",
            "HEALTH_PORT": "0",
            "WATCH_NAMESPACES": namespace.name,
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        super().__init__(self.module, "ready", environment | settings)

    @property
    def health_url(self) -> str:
        return self.told("health_address")

    @property
    def metrics_url(self) -> str:
        return self.told("metrics_address")


class HastyOperator(Operator):
    """An operator whose pauses are shorter than those of the program."""

    module = "support.hasty_operator"
