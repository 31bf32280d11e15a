"""The port of /metrics, /livez and /readyz, which is taken before the rest of the program is imported."""

import os
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

    A probe of a container that has just begun then waits for its answer. A kubelet that is refused tries again each
    second, and each failure is an event: seen beside a start, and work for the cluster while many pods start.
    """
    try:
        return listen(environment.get("HOST") or DEFAULT_HOST, int(environment.get("METRICS_PORT") or DEFAULT_PORT))
    except (OSError, ValueError, OverflowError):
        return None


# The first descriptor that sd_listen_fds(3) hands over, and the only one here.
_HANDED_OVER = 3


def hand_over(listener: socket.socket) -> dict[str, str]:
    """Keep a socket open for the program that this process becomes, and return the variables that tell it so.

    What connects in between waits, and is not refused. The variables are those of systemd's socket activation.
    """
    if listener.fileno() != _HANDED_OVER:
        os.dup2(listener.fileno(), _HANDED_OVER)
    os.set_inheritable(_HANDED_OVER, True)
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}


def handed_over(environment: Mapping[str, str]) -> socket.socket | None:
    """Return the socket that the program before this one has left; None when it has left none."""
    if (environment.get("LISTEN_PID"), environment.get("LISTEN_FDS")) != (str(os.getpid()), "1"):
        return None
    try:
        listener = socket.socket(fileno=_HANDED_OVER)
    except OSError:
        return None
    listener.set_inheritable(False)
    return listener
