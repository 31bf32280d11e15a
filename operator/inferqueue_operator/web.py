"""What the operator serves: /healthz and /readyz for probes, /metrics for Prometheus."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from inferqueue_operator.supervisor import Supervisor


def health_app(supervisor: Supervisor, is_ready: Callable[[], bool]) -> web.Application:
    """Make the probes: alive while every queue's loop goes on, whether or not Redis answers; ready once started."""

    async def healthz(_: web.Request) -> web.Response:
        stalled = supervisor.stalled()
        if stalled:
            return web.json_response({"status": "stalled", "stalled": stalled}, status=500)
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        ready = is_ready()
        return web.json_response({"status": "ok" if ready else "starting"}, status=200 if ready else 503)

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    return app


def metrics_app(registry: CollectorRegistry) -> web.Application:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics)])
    return app


class Listener:
    """One application on one port; `port` 0 takes a free one. Raises OSError when it cannot listen there."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._runner = web.AppRunner(app, access_log=None)
        self._host = host
        self._port = port

    async def start(self) -> str:
        """Listen; gives the address."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        port = self._runner.addresses[0][1]
        return f"http://{self._host}:{port}"

    async def stop(self) -> None:
        await self._runner.cleanup()
