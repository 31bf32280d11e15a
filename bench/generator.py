"""The load generator: keep-alive connections on raw sockets that repeat one HTTP/1.1 request; the same for all servers.

    python generator.py PLAN     PLAN: the fields of `Plan` as a JSON object

Each connection sends the request, awaits the whole answer, checks it, and begins again. Answers count after a second of
warm-up. The last line printed is a JSON object.
"""

import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

WARM_UP_SECONDS = 1.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, for how long (`seconds`; `pause` between answer and request), and what must come back."""

    port: int
    connections: int
    seconds: float
    pause: float
    request: str
    status: int
    contains: str


@dataclass(slots=True)
class Tally:
    """What came back between `start` and `end` (seconds of the clock); the first wrong answer ends the run."""

    start: float
    end: float
    failed: asyncio.Future[None]
    latencies: list[float] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(RuntimeError(reason))


class Connection(asyncio.Protocol):
    """One client: never more than one request on its way."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self._request = plan.request.encode()
        self._status = str(plan.status).encode()
        self._contains = plan.contains.encode()
        self._pause = plan.pause
        self._tally = tally
        self._buffer = b""
        self._sent = 0.0
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._tally.end:
            self._tally.fail(f"the server closed the connection after {self._buffer[:300]!r}")

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        head = buffer.find(_HEAD_END)
        if head < 0:
            return
        at = buffer[:head].lower().find(_LENGTH)
        if at < 0:
            self._tally.fail(f"an answer without Content-Length: {buffer[:300]!r}")
            return
        stop = buffer.find(b"\r", at)
        if len(buffer) < head + len(_HEAD_END) + int(buffer[at + len(_LENGTH) : stop]):
            return
        self._answered(buffer)

    def _answered(self, answer: bytes) -> None:
        now = time.perf_counter()
        tally = self._tally
        if answer[9:12] != self._status or self._contains not in answer:
            tally.fail(f"not the answer that was expected: {answer[:600]!r}")
            return
        self._buffer = b""
        if now > tally.end:
            return
        if now >= tally.start:
            tally.latencies.append(now - self._sent)
        if self._pause:
            self._loop.call_later(self._pause, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def run(plan: Plan) -> Tally:
    """Carry out a plan; raise RuntimeError for the first wrong answer."""
    loop = asyncio.get_running_loop()
    start = time.perf_counter() + WARM_UP_SECONDS
    tally = Tally(start, start + plan.seconds, loop.create_future())
    for _ in range(plan.connections):
        await loop.create_connection(lambda: Connection(plan, tally), "127.0.0.1", plan.port)
    await asyncio.wait([tally.failed], timeout=tally.end - time.perf_counter())
    if tally.failed.done():
        tally.failed.result()
    return tally


def main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    tally = uvloop.run(run(plan))
    if len(tally.latencies) < 2:
        raise SystemExit(f"{len(tally.latencies)} answers within {plan.seconds:g} s")
    percentiles = statistics.quantiles(tally.latencies, n=100, method="inclusive")
    outcome = {
        "per_second": len(tally.latencies) / plan.seconds,
        "p50_ms": percentiles[49] * 1000,
        "p99_ms": percentiles[98] * 1000,
    }
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
