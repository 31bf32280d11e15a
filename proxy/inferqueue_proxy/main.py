"""The program `inferqueue-proxy`."""

import argparse
import asyncio
import gc
import logging
import math
import signal
import socket
import sys
import threading
from functools import partial
from types import FrameType

import uvicorn
import uvloop
from prometheus_client import disable_created_metrics, make_wsgi_app

from inferqueue_core.errors import QueueUnavailableError, QueueUnsuitableError
from inferqueue_core.logs import log_to_stderr
from inferqueue_core.metrics_server import MetricsServer
from inferqueue_core.settings import add_flags, read_settings
from inferqueue_proxy.app import make_app, make_services
from inferqueue_proxy.auth import ApiKeys
from inferqueue_proxy.connection_limits import ConnectionLimits
from inferqueue_proxy.connections import LimitedProtocol
from inferqueue_proxy.services import Services
from inferqueue_proxy.settings import ProxySettings

log = logging.getLogger("inferqueue_proxy")

GRACE_SECONDS = 20


def main() -> None:
    """Serve until SIGTERM or SIGINT; exit 1 when this Redis cannot hold a queue, 2 when a setting is wrong."""
    parser = argparse.ArgumentParser(
        prog="inferqueue-proxy", description="Take jobs over HTTP; answer with ids, states and results."
    )
    add_flags(parser, ProxySettings)
    settings = read_settings(ProxySettings, parser.parse_args())
    log_to_stderr()
    disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(serve(settings)))


async def serve(settings: ProxySettings) -> int:
    """Serve until told to stop; give the exit code."""
    secret = settings.api_keys
    try:
        keys = ApiKeys(None if secret is None else secret.get_secret_value(), settings.api_keys_file)
    except OSError as error:
        log.error("API_KEYS_FILE cannot be read", extra={"error": str(error)})
        return 2
    services = make_services(settings)
    try:
        await services.monitor.check()
    except QueueUnsuitableError as error:
        log.error("this Redis cannot hold a queue", extra={"redis": settings.safe_url, "error": str(error)})
        return 1
    except QueueUnavailableError as error:
        log.warning("Redis does not answer yet", extra={"redis": settings.safe_url, "error": str(error)})
    limits = ConnectionLimits(settings, services.metrics.let_go)
    services.metrics.watch_connections(limits)
    config = uvicorn.Config(
        make_app(services, keys),
        host=settings.host,
        port=settings.port,
        http=partial(LimitedProtocol, limits=limits),  # type: ignore[arg-type]  # Uvicorn calls it as it calls a class
        loop="uvloop",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=limits.backlog,
        timeout_keep_alive=math.ceil(settings.keep_alive_timeout),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config, services, limits)
    try:
        await server.serve()
    except SystemExit:  # Uvicorn's way to say that it cannot listen, and why; uvloop must not see it
        log.error("HOST and PORT cannot be used", extra={"host": settings.host, "port": settings.port})
        return 1
    return 0 if server.started and not server.failed else 1


class Server(uvicorn.Server):
    """Uvicorn that says where it listens, serves metrics beside, and lets waiting clients go when it must stop."""

    def __init__(self, config: uvicorn.Config, services: Services, limits: ConnectionLimits) -> None:
        super().__init__(config)
        self.failed = False
        self._services = services
        self._limits = limits

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        settings = self._services.settings
        try:
            metrics_port = self._serve_metrics()
        except OSError as error:
            log.error("METRICS_PORT cannot be used", extra={"port": settings.metrics_port, "error": str(error)})
            self.failed = self.should_exit = True
            return
        gc.freeze()  # what start-up made stays, so collections need not look at it
        port = self.servers[0].sockets[0].getsockname()[1]
        log.info(
            "listening",
            extra={
                "address": f"http://{settings.host}:{port}",
                "metrics_address": f"http://{settings.host}:{metrics_port}/metrics",
                "redis": settings.safe_url,
                "queue": settings.queue_name,
                "max_connections": self._limits.maximum,
            },
        )
        self._limits.start()

    def _serve_metrics(self) -> int:
        """Serve metrics from a thread; give the port. Raises OSError."""
        settings = self._services.settings
        address = socket.getaddrinfo(settings.host, settings.metrics_port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[4][:2], family=address[0])
        server = MetricsServer(listener, make_wsgi_app(self._services.metrics.registry))
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return server.server_port

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Uvicorn would raise the signal again at the end, and the program would not exit with 0.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping")
        self._services.waiting.drain()
        await super().shutdown(sockets)
        self._limits.stop()
        log.info("stopped")
