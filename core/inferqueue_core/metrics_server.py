"""The HTTP server for probes and Prometheus: few clients, each with little time, so that none keeps the others out."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

logger = logging.getLogger(__name__)

MOST_CLIENTS = 32
CLIENT_SECONDS = 10.0
"""How long a client may take over its request and its answer together."""

_PAUSE_SECONDS = 0.1

# As wsgiref declares it, where `Any` stands for what it cannot say.
App = Callable[..., Any]


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Serves `app` on a socket that listens already: a request a connection, a thread each.

    Whoever connects beyond MOST_CLIENTS takes the place of the one that has been there longest, which has had its time:
    a probe and a scrape take milliseconds.
    """

    daemon_threads = True

    def __init__(self, listener: socket.socket, app: App) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        # Without the inherited look-up of the address's name, which waits for a name server.
        self.server_name, self.server_port = self.server_address = listener.getsockname()[:2]
        self.setup_environ()
        self.set_app(app)
        self._clients: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._is_short_of_files = False

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            request = super().get_request()
        except OSError as error:
            if not self._is_short_of_files:
                logger.error("no connection can be accepted; raise `ulimit -n`", extra={"error": str(error)})
            self._is_short_of_files = True
            time.sleep(_PAUSE_SECONDS)  # the next attempt would fail as well, and come at once
            raise
        self._is_short_of_files = False
        return request

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._clients[request] = time.monotonic()
            longest = [*self._clients][:-MOST_CLIENTS]
        self._end(longest)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._clients.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End those whose time is over: called each half second while serving."""
        now = time.monotonic()
        with self._lock:
            late = [client for client, since in self._clients.items() if now - since > CLIENT_SECONDS]
        self._end(late)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: a client went, or was let go, in the middle of its request."""

    def _end(self, clients: list[socket.socket]) -> None:
        for client in clients:
            with self._lock:
                self._clients.pop(client, None)
            with suppress(OSError):  # it has gone by itself
                client.shutdown(socket.SHUT_RDWR)  # which ends the reading or writing of its thread


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a probe comes every second."""
