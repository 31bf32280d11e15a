"""Measure this checkout beside another one in one run: what a change costs, in a machine's noise.

make bench-beside OTHER=../before      a checkout of the commit before, whose .venv `make run` has filled

Each measure is taken in turn on both sides, round by round, each side with its own Redis, proxy and worker; a ratio is
that of two values of one round.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

import load
from draining import drain_seconds
from enqueuing import FLOWER
from measures.infer import infer_load
from measures.models import MODELS, HeavyModel, make_repository
from measures.submits import port_of
from programs import BENCH, Program, RedisServer, proxy, wait_until, worker
from series import AtLeast, AtMost, Finding, Series, Target

_ROUNDS = 7
_SECONDS = 3.0
_MOST_JOBS_A_REQUEST = 1000
_SPEED, _COST = AtLeast(0.97), AtMost(1.1)


@dataclass(frozen=True, slots=True)
class Load:
    """Jobs that one worker drains: of the Iris model, or of a heavy one in `repository`."""

    model: str
    repository: Path
    data: object
    count: int


class Side:
    """One checkout with its Redis and its proxy, while its block runs."""

    def __init__(self, checkout: Path) -> None:
        self._python = checkout.resolve() / ".venv" / "bin" / "python"
        self._stack = ExitStack()

    def __enter__(self) -> "Side":
        self.server = self._stack.enter_context(RedisServer())
        self.port = port_of(self._stack.enter_context(proxy(self.server, python=self._python)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def worker(self, of: Load, *arguments: str) -> Iterator[Program]:
        """Run a worker on the load's queue."""
        settings = {"MODEL_REPOSITORY": str(of.repository), "MODEL_NAME": of.model, "QUEUE_NAME": of.model}
        with worker(self.server, *arguments, python=self._python, **settings) as program:
            yield program

    def publish(self, of: Load) -> None:
        """Let a worker say what the model is, so that the proxy validates what it accepts."""
        with self.worker(of, "--until-empty") as program:
            program.told("stopped")

    def fill(self, of: Load, count: int) -> list[str]:
        """Put jobs into the queue through the proxy; return the keys of their results."""
        ids: list[str] = []
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60) as client:
            while len(ids) < count:
                jobs = [{"model": of.model, "data": of.data}] * min(count - len(ids), _at_once(of))
                ids += client.post("/predict/batch", json=jobs).raise_for_status().json()["job_ids"]
        return [f"job:{job_id}:result" for job_id in ids]

    def jobs_per_second(self, of: Load) -> float:
        """Return the jobs per second with which one worker drains the load."""
        with self._drained(of) as (_, seconds):
            return of.count / seconds

    def peak_memory(self, of: Load) -> float:
        """Return the peak memory, in MB, of one worker that has drained the load."""
        with self._drained(of) as (program, _):
            return program.memory()

    @contextmanager
    def _drained(self, of: Load) -> Iterator[tuple[Program, float]]:
        self.server.empty()
        results = self.fill(of, of.count)
        with self.worker(of) as program:
            yield program, drain_seconds(self.server.client, of.model, results, program)

    def start_seconds(self, of: Load) -> float:
        """Return the seconds from a worker's start to its first claim."""
        self.server.empty()
        self.fill(of, 1)
        start = time.perf_counter()
        with self.worker(of):
            wait_until(lambda: self.server.client.llen(of.model) == 0, 60, f"the first claim of {of.model}", 0.001)
            return time.perf_counter() - start

    def answers(self, of: Load, connections: int) -> float:
        """Return the answers per second of `/v2` infer."""
        self.server.empty()
        with self.worker(of) as program:
            program.told("ready")
            return infer_load(self.port, connections, _SECONDS, of.model).per_second

    def submits(self, of: Load) -> float:
        """Return the submits per second that the proxy accepts."""
        self.server.empty()
        request = load.post("/predict", json.dumps({"data": of.data, "model": of.model}))
        answers = load.generate(self.port, request, connections=64, seconds=_SECONDS, status=202, contains='"job_id"')
        return answers.per_second


def _at_once(of: Load) -> int:
    return _MOST_JOBS_A_REQUEST if of.model == "iris" else 1


def main() -> None:
    """Run the program; ends with 1 when a bound is not met."""
    flags = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that every process is ended
    with tempfile.TemporaryDirectory() as folder, Side(BENCH.parent) as ours, Side(flags.other) as other:
        findings = list(_measure((ours, other), _loads(Path(folder)), flags.rounds, flags.only))
    _print(findings)
    sys.exit(any(finding.is_met is False for finding in findings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout, with a filled .venv")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often each side is measured")
    parser.add_argument("--only", default="", help="take only measures whose name contains this")
    return parser


def _loads(folder: Path) -> list[Load]:
    heavy = {model.name: model for model in MODELS}
    for model in MODELS:
        make_repository(folder, model)
    return [
        Load("iris", BENCH.parent / "models", FLOWER, 30_000),
        Load("minilm", folder, _nested(heavy["minilm"]), 300),
        Load("resnet50", folder, _nested(heavy["resnet50"]), 40),
    ]


def _nested(model: HeavyModel) -> dict[str, object]:
    return {
        name: np.asarray(array, float if array.dtype.kind == "f" else None).round(4).tolist()
        for name, array in model.inputs().items()
    }


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of one side, which `take` gives for these arguments."""

    name: str
    unit: str
    target: Target
    take: Callable[..., float]
    arguments: tuple[object, ...]


def _measures(loads: Sequence[Load]) -> Iterator[Measure]:
    for of in loads:
        yield Measure(f"{of.model}: jobs/s of one worker", "jobs/s", _SPEED, Side.jobs_per_second, (of,))
        yield Measure(f"{of.model}: start to first claim", "s", _COST, Side.start_seconds, (of,))
        yield Measure(f"{of.model}: peak memory", "MB", _COST, Side.peak_memory, (of,))
    for connections in (1, 16):
        what = f"/v2 infer, {connections} connection{'s' if connections > 1 else ''}"
        yield Measure(what, "requests/s", _SPEED, Side.answers, (loads[0], connections))
    yield Measure("accepted submits", "requests/s", _SPEED, Side.submits, (loads[0],))


def _measure(sides: tuple[Side, Side], loads: Sequence[Load], rounds: int, only: str) -> Iterator[Finding]:
    for side in sides:
        for of in loads:
            side.publish(of)
    for measure in _measures(loads):
        if only not in measure.name:
            continue
        values: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds):
            # Whoever comes first in one round comes second in the next.
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                values[which].append(measure.take(sides[which], *measure.arguments))
        ours, other = (Series(tuple(one)) for one in values)
        note = f"{ours.median:,.4g} {measure.unit} beside {other.median:,.4g} {measure.unit}"
        yield Finding(measure.name, "×", ours / other, measure.target, note)


def _print(findings: Sequence[Finding]) -> None:
    table = Table(caption="this checkout ÷ the other one, pair by pair")
    for heading in ("measure", "median", "min - max", "bound", "", "medians"):
        table.add_column(heading)
    for finding in findings:
        series = finding.series
        verdict = {True: "met", False: "not met", None: ""}[finding.is_met]
        spread = f"{series.low:.3f} - {series.high:.3f}"
        table.add_row(finding.measure, f"{series.median:.3f}", spread, str(finding.target), verdict, finding.note)
    console = Console()
    if not console.is_terminal:
        console.width = 140
    console.print(table)


if __name__ == "__main__":
    main()
