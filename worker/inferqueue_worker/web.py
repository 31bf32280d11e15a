"""What the worker serves beside its work: /livez and /readyz for probes, /metrics for Prometheus."""

import socket
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, make_wsgi_app

from inferqueue_core.metrics_server import MetricsServer
from inferqueue_worker.probes import Probes


def web_server(listener: socket.socket, registry: CollectorRegistry, probes: Probes) -> MetricsServer:
    """Make the server for a socket that listens already."""
    metrics = make_wsgi_app(registry)
    answers = {"/livez": probes.live, "/readyz": probes.able}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            page: Iterable[bytes] = metrics(environ, start_response)
            return page
        if path in answers:
            good, text = answers[path]()
            status = "200 OK" if good else "503 Service Unavailable"
        else:
            status, text = "404 Not Found", f"nothing at {path}; there are /livez, /readyz and /metrics"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return MetricsServer(listener, app)
