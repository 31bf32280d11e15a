"""What the worker serves beside its work: /livez and /readyz for probes, /metrics for Prometheus."""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the inherited look-up of the address's name, which waits for a name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a probe comes every second."""


class Probes:
    """What the probes are told: not ready and in good health until the worker says otherwise.

    `ailment` names what only a restart can mend, None while there is nothing.
    """

    def __init__(self) -> None:
        self.ready = False
        self.ailment: Callable[[], str | None] = lambda: None

    def live(self) -> tuple[bool, str]:
        found = self.ailment()
        return found is None, found or "ok"

    def able(self) -> tuple[bool, str]:
        return self.ready, "ok" if self.ready else "starting"


def serve(host: str, port: int, registry: CollectorRegistry, probes: Probes) -> WSGIServer:
    """Listen at once and answer in a thread; `port` 0 takes a free one. Raises OSError when it cannot listen there."""
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

    kind = _Server6 if ":" in host else _Server
    server = make_server(host, port, app, server_class=kind, handler_class=_Handler)
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return server
