"""The operator's settings."""

import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from inferqueue_core.queue_settings import RedisSettings

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def _own_namespace() -> str:
    return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else os.environ.get("POD_NAMESPACE", "default")


class OperatorSettings(RedisSettings, frozen=True, kw_only=True):
    """Which namespaces the operator serves; the Redis is that of queues which name none of their own."""

    watch_namespaces: Annotated[
        str, Meta(description="namespaces to serve, separated by commas, or * for all; the operator's own when unset")
    ] = ""
    host: Annotated[str, Meta(description="address that /healthz, /readyz and /metrics listen on")] = "0.0.0.0"
    health_port: Annotated[
        int, Meta(ge=0, le=65535, description="port of /healthz and /readyz; 0 takes a free one")
    ] = 8080
    metrics_port: Annotated[int, Meta(ge=0, le=65535, description="port of /metrics; 0 takes a free one")] = 9090

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces by name; none means all of them."""
        names = tuple(name.strip() for name in self.watch_namespaces.split(",") if name.strip())
        return () if "*" in names else names or (_own_namespace(),)
