"""Iris jobs through our queue, a naive one and those of others: put in by one process, drained by one process."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from context import Bench
from draining import drain_seconds
from environments import python_with
from measures.memory import memory_row
from programs import MODELS, BenchError, Program, RedisServer, run_to_end, worker
from series import AtLeast, Finding, NotMeasured, Row, Series

_IRIS = str(MODELS / "iris" / "1" / "model.onnx")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A queue. `rate` is about how many jobs it drains a second; `promise`, what becomes of a killed worker's jobs."""

    name: str
    producer: str
    worker: tuple[str, ...]
    queue: str
    rate: int
    promise: str
    python: Path = Path(sys.executable)

    def environment(self, server: RedisServer) -> Mapping[str, str]:
        return {"REDIS_URL": server.url, "MODEL_PATH": _IRIS}

    def program(self, server: RedisServer) -> Program:
        """Make its worker, which loads the Iris model and begins to take jobs."""
        if not self.worker:
            return worker(server)
        return Program([self.python, "-m", *self.worker], self.environment(server))


def _ours() -> Contestant:
    promise = "a killed worker's jobs run again after its lease (30 s by default); one result each, fenced"
    return Contestant("inferqueue", "producer", (), "predict_queue", 15_000, promise)


def _naive() -> Contestant:
    promise = "the job of a killed worker is lost"
    return Contestant("naive pair", "naive.producer", ("naive.worker",), "predict_queue", 1_000, promise)


def _celery() -> Contestant:
    command = (
        *("celery", "-A", "peers.celery_app", "worker", "--pool", "threads", "--concurrency", "2"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"),
    )
    promise = (
        "acks_late: a killed worker's jobs run again after 1 h (visibility_timeout); lost between BRPOP and its record"
    )
    return Contestant("celery", "peers.celery_app", command, "celery", 400, promise, python_with("celery"))


def _dramatiq() -> Contestant:
    command = ("dramatiq", "peers.dramatiq_app", "--processes", "1", "--threads", "8")
    promise = "a killed worker's jobs run again after 60 s, when maintenance happens to run; may store two results"
    return Contestant(
        "dramatiq", "peers.dramatiq_app", command, "dramatiq:default", 800, promise, python_with("dramatiq")
    )


@dataclass(frozen=True, slots=True)
class Filling:
    """One queue filled and drained once: jobs per second both ways, and the worker's memory afterwards in MB."""

    enqueued: float
    drained: float
    memory: float


def measure(bench: Bench) -> list[Row]:
    """Fill and drain each queue in turn, round by round; a peer that cannot be installed is left out."""
    contestants, missing = [_ours(), _naive()], []
    for name, make in (("celery", _celery), ("dramatiq", _dramatiq)):
        bench.say(f"installing {name} into its own environment")
        try:
            contestants.append(make())
        except BenchError as error:
            missing.append(NotMeasured(f"Iris jobs through {name}", str(error)))
    rounds = [
        [_fill_and_drain(bench, contestant) for contestant in contestants]
        for _ in bench.rounds("Iris jobs through queues")
    ]
    fillings = [list(column) for column in zip(*rounds, strict=True)]
    return [*_rows(contestants, fillings), *missing]


def _fill_and_drain(bench: Bench, contestant: Contestant) -> Filling:
    bench.server.empty()
    count = int(contestant.rate * bench.extent.seconds)
    with tempfile.NamedTemporaryFile() as file:
        command = (contestant.python, "-m", contestant.producer, str(count), file.name)
        enqueuing = float(run_to_end(command, contestant.environment(bench.server)))
        results = Path(file.name).read_text().split("\n")
    with contestant.program(bench.server) as program:
        draining = drain_seconds(bench.client, contestant.queue, results, program)
        return Filling(count / enqueuing, count / draining, program.memory())


def _rows(contestants: Sequence[Contestant], fillings: Sequence[Sequence[Filling]]) -> list[Row]:
    enqueued = [Series(tuple(one.enqueued for one in column)) for column in fillings]
    drained = [Series(tuple(one.drained for one in column)) for column in fillings]
    ratios = [
        Finding(
            f"Iris jobs drained: ours ÷ {other.name}",
            "×",
            drained[0] / series,
            AtLeast(15) if other.name == "naive pair" else None,
        )
        for other, series in zip(contestants[1:], drained[1:], strict=True)
    ]
    return [
        *(
            Finding(f"Iris jobs enqueued: {contestant.name}", "jobs/s", series)
            for contestant, series in zip(contestants, enqueued, strict=True)
        ),
        *(
            Finding(f"Iris jobs drained: {contestant.name}", "jobs/s", series, note=contestant.promise)
            for contestant, series in zip(contestants, drained, strict=True)
        ),
        *ratios,
        memory_row("memory of our worker with Iris, peak", [one.memory for one in fillings[0]]),
    ]
