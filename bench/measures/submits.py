"""Submits accepted over HTTP by one proxy process, beside a naive proxy and a route that does nothing."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import load
from context import Bench
from enqueuing import FLOWER
from measures.memory import memory_row
from programs import BENCH, BenchError, Program, free_port, proxy, worker
from series import AtLeast, Finding, Row, Series

CONNECTIONS = 64
OURS, NAIVE, NOTHING = "inferqueue", "naive proxy", "route that does nothing"
_REQUEST = load.post("/predict", f'{{"data": {FLOWER}}}')
# What our proxy gives to uvicorn as well.
_UVICORN = (
    *("--http", "httptools", "--loop", "uvloop", "--ws", "none", "--log-level", "warning", "--backlog", "2048"),
    *("--no-access-log", "--no-proxy-headers", "--no-server-header"),
)


def measure(bench: Bench) -> list[Row]:
    """Load each server in turn, round by round."""
    publish_iris(bench)
    rates: dict[str, list[float]] = {OURS: [], NAIVE: [], NOTHING: []}
    memory: list[float] = []
    with ExitStack() as stack:
        ceiling = _generator_alone(bench)
        ours = stack.enter_context(proxy(bench.server))
        ports = {OURS: port_of(ours)}
        for name, module in ((NAIVE, "naive.proxy"), (NOTHING, "naive.nothing")):
            ports[name] = stack.enter_context(_uvicorn(module, bench.server.url))
        for _ in bench.rounds("submits"):
            for name, port in ports.items():
                bench.server.empty()
                rates[name].append(_load(port, bench.extent.seconds))
                if name != NOTHING:
                    _check_queued(bench, rates[name][-1] * bench.extent.seconds)
            memory.append(ours.memory())
    series = {name: Series(tuple(values)) for name, values in rates.items()}
    return [
        *(Finding(f"accepted submits: {name}", "requests/s", values) for name, values in series.items()),
        Finding("accepted submits: ours ÷ naive proxy", "×", series[OURS] / series[NAIVE], AtLeast(4)),
        Finding("accepted submits: ours ÷ nothing", "×", series[OURS] / series[NOTHING], AtLeast(0.5)),
        memory_row("memory of the proxy under this load, peak", memory),
        Finding("what the load generator can do", "requests/s", ceiling, note="against a server that only writes"),
    ]


def publish_iris(bench: Bench) -> None:
    """Let a worker say what the Iris model is, so that the proxy validates all that it accepts."""
    with worker(bench.server, "--until-empty") as program:
        program.told("stopped")


def port_of(program: Program) -> int:
    """Wait for one of our proxies and give its port."""
    port = urlsplit(program.told("listening")["address"]).port
    assert port is not None
    return port


@contextmanager
def _uvicorn(module: str, redis_url: str) -> Iterator[int]:
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", f"{module}:app", "--port", str(port), *_UVICORN)
    with Program(command, {"REDIS_URL": redis_url}) as program:
        program.listens(port)
        yield port


def _load(port: int, seconds: float) -> float:
    answers = load.generate(port, _REQUEST, connections=CONNECTIONS, seconds=seconds, status=202, contains='"job_id"')
    return answers.per_second


def _check_queued(bench: Bench, accepted: float) -> None:
    queued = bench.client.llen("predict_queue")
    if queued < accepted:
        raise BenchError(f"{accepted:.0f} submits were accepted, but only {queued} jobs are queued")


def _generator_alone(bench: Bench) -> Series:
    port = free_port()
    with Program([sys.executable, BENCH / "naive" / "constant.py", str(port)]) as program:
        program.listens(port)
        return Series(tuple(_load(port, 1.0) for _ in bench.rounds("the load generator alone")))
