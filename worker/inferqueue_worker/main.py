"""The program `inferqueue-worker`: serves a model, or with `check MODEL` says what a model is."""

import argparse
import logging
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import redis

from inferqueue_core.connection import connect
from inferqueue_core.errors import QueueError, QueueUnavailableError
from inferqueue_core.logs import log_to_stderr
from inferqueue_core.queue import FOREVER, RedisJobQueue
from inferqueue_core.settings import add_flags, read_settings
from inferqueue_worker.cpu import cpu_budget
from inferqueue_worker.errors import WorkerError
from inferqueue_worker.listening import listen
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.predictor import import_factory
from inferqueue_worker.probes import Probes
from inferqueue_worker.reloading import Reloader, load_settled, restart
from inferqueue_worker.repository import ModelFiles, ModelSource
from inferqueue_worker.served_model import ServedModel, load_model
from inferqueue_worker.settings import WorkerSettings
from inferqueue_worker.stopping import end_on_signals
from inferqueue_worker.worker import Queues, Worker

logger = logging.getLogger("inferqueue_worker")

# A start that takes longer is no race for the first job any more.
_LONG_START_SECONDS = 8.0
# After the grace period; Kubernetes kills 5 s after it.
_END_SECONDS = 3.0
# The first jobs of all workers that start together come before anybody's page; probes come once a second.
_FIRST_JOBS_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None, listener: socket.socket | None = None) -> None:
    """Run the program.

    It ends with 0 after SIGTERM, 1 when the model or Redis cannot be used, 2 for wrong settings, and 3 after SIGTERM
    when something did not end within the grace period and was cut off.

    `listener` is a socket that listens already, to be used if it does so where the settings say.
    """
    flags = _parser().parse_args(arguments)
    if flags.command == "check":
        from inferqueue_worker.check import check

        raise SystemExit(check(flags.model, flags.repository))
    settings = read_settings(WorkerSettings, flags)
    log_to_stderr()
    try:
        _serve(settings, listener, until_empty=flags.until_empty)
    except (WorkerError, QueueError) as error:
        logger.error(str(error), extra={"model": settings.model_name})
        raise SystemExit(1) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inferqueue-worker", description="Run a model on the jobs of a queue.")
    parser.set_defaults(until_empty=False)
    parser.add_argument("--until-empty", action="store_true", help="end when nothing waits any more")
    add_flags(parser, WorkerSettings)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    checker = commands.add_parser("check", help="say what a model is, whether it batches, and how fast")
    checker.add_argument("model", help="a model.onnx, a model's folder, or a name in the repository")
    checker.add_argument("--repository", type=Path, default=Path("models"), help="where names are looked up (models)")
    return parser


def _serve(settings: WorkerSettings, listener: socket.socket | None, *, until_empty: bool) -> None:
    began = time.monotonic()
    ending, abandon = end_on_signals(), threading.Event()
    metrics, probes = WorkerMetrics(), Probes()
    listener = _listen(settings.host, settings.metrics_port, listener)
    threading.Thread(target=_serve_web, args=(listener, metrics, probes), name="web", daemon=True).start()
    source = ModelSource(
        settings.model_repository, settings.model_name, settings.model_version, bool(settings.predictor)
    )
    model, seen = load_settled(source, lambda files: _load(files, settings), ending.stop)
    client = connect(settings)

    def queue(client: redis.Redis, patience: float) -> RedisJobQueue:
        policy = settings.policy()
        prefix = settings.key_prefix
        return RedisJobQueue(client, settings.queue_name, policy, prefix=prefix, patience=patience, stop=abandon)

    prompt = queue(client, 0)
    runners = settings.runners or model.runners(cpu_budget())
    connections = _await_redis(client, prompt, runners, ending.stop)
    if not connections:
        return
    queues = Queues([queue(connection, FOREVER) for connection in connections], prompt, abandon)
    halt = threading.Event()
    worker = Worker(queues, settings, model, metrics, halt)
    worker.ready_seconds = time.monotonic() - began
    metrics.ready_seconds = worker.ready_seconds
    worker.join()
    worker.publish()
    ending.take_time(settings.grace_seconds + _END_SECONDS, worker.give_back_rest)
    worker.start(until_empty=until_empty)
    probes.ailment = worker.ailment
    probes.ready.set()
    logger.info("ready", extra=_ready_fields(settings, model, listener.getsockname()[1], worker.ready_seconds))
    reloader = Reloader(ending.stop, halt, probes.ready)
    reloader.start(source, model, seen, metrics)
    worker.wait()
    reloader.end()
    client.close()
    if reloader.due and not ending.stop.is_set():
        restart(listener)
    logger.info("stopped")


def _listen(host: str, port: int, early: socket.socket | None) -> socket.socket:
    if early is not None:
        at_host, at_port = early.getsockname()[:2]
        if at_host == host and port in (at_port, 0):
            return early
        early.close()
    try:
        return listen(host, port)
    except OSError as error:
        raise WorkerError(
            f"METRICS_PORT={port}: cannot listen there on {host}: {error.strerror}; 0 takes a free port"
        ) from error


def _serve_web(listener: socket.socket, metrics: WorkerMetrics, probes: Probes) -> None:
    """Answer from soon after the worker claims, or its start has taken long; until then a client that connects waits.

    What is imported here took a tenth of a start, and the first job needs nothing of it.
    """
    probes.ready.wait(_LONG_START_SECONDS)
    time.sleep(_FIRST_JOBS_SECONDS)
    from inferqueue_worker.exposition import registry_of
    from inferqueue_worker.web import web_server

    web_server(listener, registry_of(metrics), probes).serve_forever()


def _await_redis(client: redis.Redis, queue: RedisJobQueue, count: int, stop: threading.Event) -> list[redis.Redis]:
    """Wait until Redis answers and suits, and give `count` clients; none when told to stop before.

    Each has a connection of its own: taking one from a pool for each call costs a look at the socket every time.
    Raises QueueUnsuitableError.
    """
    said = False
    while not stop.is_set():
        try:
            queue.check()
            return [client.client() for _ in range(count)]
        except (QueueUnavailableError, redis.ConnectionError) as error:
            if not said:
                logger.warning("waiting for Redis", extra={"reason": str(error)})
            said = True
            stop.wait(0.5)
    return []


def _load(files: ModelFiles, settings: WorkerSettings) -> ServedModel:
    factory = import_factory(settings.predictor) if settings.predictor else None
    return load_model(files, factory, settings.intra_op_threads, settings.trial_seconds)


def _ready_fields(settings: WorkerSettings, model: ServedModel, metrics_port: int, seconds: float) -> dict[str, object]:
    return {
        "worker": settings.worker_name,
        "model": model.files.name,
        "version": model.files.version,
        "queue": settings.queue_name,
        "batchable": model.trial.batchable,
        "reason": model.trial.reason,
        "max_rows": model.trial.max_rows,
        "jobs_per_claim": model.jobs_per_claim,
        "seconds": round(seconds, 3),
        "metrics_address": f"http://{settings.host}:{metrics_port}/metrics",
    }
