"""Free TCP ports, for servers that cannot choose one themselves."""

import random
import socket


def free_port(below: int = 32_000) -> int:
    """Find a port that nobody listens on, under the range from which connections take theirs."""
    while True:
        port = random.SystemRandom().randrange(10_000, below)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
