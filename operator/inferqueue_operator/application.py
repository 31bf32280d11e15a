"""The operator's parts, made in one place."""

import asyncio
import logging

from inferqueue_operator.api import KubernetesApi
from inferqueue_operator.cluster import Cluster
from inferqueue_operator.errors import ApiError
from inferqueue_operator.metrics import OperatorMetrics
from inferqueue_operator.resource import GROUP, PLURAL, VERSION
from inferqueue_operator.servers import RedisServers
from inferqueue_operator.settings import OperatorSettings
from inferqueue_operator.supervisor import Supervisor
from inferqueue_operator.web import Listener, health_app, metrics_app

logger = logging.getLogger("inferqueue_operator")

_LOOK_AGAIN = 0.5


class Application:
    """All parts of a running operator."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self._api = KubernetesApi()
        self._ready = False
        metrics = OperatorMetrics()
        cluster = Cluster(self._api, settings.namespaces)
        self.supervisor = Supervisor(cluster, RedisServers(settings), metrics)
        self._health = Listener(health_app(self.supervisor, lambda: self._ready), settings.host, settings.health_port)
        self._metrics = Listener(metrics_app(metrics.registry), settings.host, settings.metrics_port)

    async def start(self) -> None:
        """Log in, serve probes and metrics, and return when the API server has answered for all that is watched."""
        await self._api.open()
        health, metrics = await self._health.start(), await self._metrics.start()
        await self._await_resource()
        await self.supervisor.start()
        self._ready = True
        fields = {
            "namespaces": ",".join(self._settings.namespaces) or "*",
            "redis": self._settings.safe_url,
            "health_address": health,
            "metrics_address": f"{metrics}/metrics",
        }
        logger.info("ready", extra=fields)

    async def _await_resource(self) -> None:
        """Return once the API server knows InferenceQueues; kopf would look for them only once."""
        said = False
        while True:
            try:
                # A new CRD is known under its version a little before it is listed among the groups.
                groups = (await self._api.get("/apis"))["groups"]
                if any(group["name"] == GROUP for group in groups):
                    known = await self._api.get(f"/apis/{GROUP}/{VERSION}")
                    if any(resource["name"] == PLURAL for resource in known["resources"]):
                        return
                problem = f"the CustomResourceDefinition {PLURAL}.{GROUP} is not installed"
            except ApiError as error:
                problem = str(error)
            if not said:
                logger.warning("waiting for InferenceQueues to be known", extra={"reason": problem})
            said = True
            await asyncio.sleep(_LOOK_AGAIN)

    async def stop(self) -> None:
        """End all tasks and close all connections."""
        self._ready = False
        await self.supervisor.stop()
        await self._health.stop()
        await self._metrics.stop()
        await self._api.close()
        logger.info("stopped")
