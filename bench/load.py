"""Load on a server, by the generator in a process of its own."""

import json
import sys
from dataclasses import asdict, dataclass

from generator import Plan
from programs import BENCH, run_to_end


@dataclass(frozen=True, slots=True)
class Load:
    """What the generator saw: answers per second, and how long they took, in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float


def post(path: str, body: str, *headers: str) -> str:
    """Write an HTTP/1.1 POST of a JSON body."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body.encode())}",
        *headers,
    )
    return "\r\n".join((*lines, "", body))


def generate(
    port: int,
    request: str,
    *,
    connections: int,
    seconds: float,
    status: int,
    contains: str,
    pause: float = 0.0,
) -> Load:
    """Repeat `request` on all connections for `seconds`; raise BenchError when an answer is not the expected one."""
    plan = Plan(port, connections, seconds, pause, request, status, contains)
    last_line = run_to_end([sys.executable, BENCH / "generator.py", json.dumps(asdict(plan))])
    return Load(**json.loads(last_line))
