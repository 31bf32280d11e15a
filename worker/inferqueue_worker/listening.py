"""The port of /metrics, /livez and /readyz, which is taken before the rest of the program is imported."""

import socket
from collections.abc import Mapping

DEFAULT_HOST = "0.0.0.0"
DEFAULT_PORT = 9090


def listen(host: str, port: int) -> socket.socket:
    """Listen there; port 0 takes a free one. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def listen_early(environment: Mapping[str, str]) -> socket.socket | None:
    """Listen where the environment says; None where that cannot be done, which the settings tell of later.

    Whoever probes a container that has just begun then waits for its answer. A kubelet that is refused tries again each
    second, and each failure is an event: seen beside a start, and work for the cluster while many pods start.
    """
    try:
        return listen(environment.get("HOST") or DEFAULT_HOST, int(environment.get("METRICS_PORT") or DEFAULT_PORT))
    except (OSError, ValueError, OverflowError):
        return None
