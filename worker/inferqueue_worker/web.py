"""What the worker serves beside its work: /livez and /readyz for probes, /metrics for Prometheus."""

import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from inferqueue_worker.probes import Probes


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        # Without the inherited look-up of the address's name, which waits for a name server.
        self.server_name, self.server_port = self.server_address = listener.getsockname()[:2]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a probe comes every second."""


def web_server(listener: socket.socket, registry: CollectorRegistry, probes: Probes) -> WSGIServer:
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

    server = _Server(listener)
    server.set_app(app)
    return server
