"""Answers over HTTP that wait for queue and worker: `/v2` infer under load, and one client on an idle system."""

import json

import load
from context import Bench
from enqueuing import FLOWER
from measures.submits import port_of
from programs import proxy, worker
from series import AtLeast, AtMost, Finding, Series

_SECONDS_BETWEEN = 0.02
_INFER = json.dumps({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": FLOWER}]})
_TARGETS = {1: AtLeast(300), 16: AtLeast(1500)}


def measure(bench: Bench) -> list[Finding]:
    """Load one proxy and one worker, round by round, with 1 and 16 connections and with single waiting submits."""
    loads: dict[int, list[load.Load]] = {connections: [] for connections in _TARGETS}
    waits: list[float] = []
    bench.server.empty()
    with worker(bench.server) as program, proxy(bench.server) as front:
        program.told("ready")
        port = port_of(front)
        for _ in bench.rounds("answers through the queue"):
            for connections, seen in loads.items():
                seen.append(infer_load(port, connections, bench.extent.seconds))
            waits.append(_wait(port, bench.extent.seconds))
    return [
        *(row for connections, seen in loads.items() for row in _rows(connections, seen)),
        Finding("submit to result, one waiting client, idle: p50", "ms", Series(tuple(waits)), AtMost(10)),
    ]


def infer_load(port: int, connections: int, seconds: float, model: str = "iris") -> load.Load:
    """Ask the Iris model, under the name that it has here, for one flower on all connections at once."""
    request = load.post(f"/v2/models/{model}/infer", _INFER)
    return load.generate(port, request, connections=connections, seconds=seconds, status=200, contains='"outputs"')


def _wait(port: int, seconds: float) -> float:
    request = load.post("/predict", json.dumps({"data": FLOWER}), "Prefer: wait=10")
    seen = load.generate(
        port, request, connections=1, seconds=seconds, status=200, contains='"setosa"', pause=_SECONDS_BETWEEN
    )
    return seen.p50_ms


def _rows(connections: int, seen: list[load.Load]) -> list[Finding]:
    what = f"/v2 infer through the queue, {connections} connection{'s' if connections > 1 else ''}"
    return [
        Finding(what, "requests/s", Series(tuple(one.per_second for one in seen)), _TARGETS[connections]),
        Finding(f"{what}: p50", "ms", Series(tuple(one.p50_ms for one in seen))),
        Finding(f"{what}: p99", "ms", Series(tuple(one.p99_ms for one in seen))),
    ]
