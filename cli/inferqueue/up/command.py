"""`inferqueue up`."""

import argparse
import socket
import sys
from math import prod

import numpy as np
import orjson

from inferqueue.up.data_dir import DataDir
from inferqueue.up.errors import StartError, StopRequested
from inferqueue.up.guard import Guard
from inferqueue.up.programs import HOST, Programs
from inferqueue.up.screen import Screen
from inferqueue.up.settings import UpSettings, foreign_redis
from inferqueue.up.supervisor import Stop, Supervisor
from inferqueue_core.models import ModelInfo
from inferqueue_core.settings import read_settings

KILLED = 130
_FLOWER = [[5.1, 3.5, 1.4, 0.2]]

DESCRIPTION = """\
Start Redis, the proxy and workers on this machine, and look after them until Ctrl-C.

Jobs that wait are kept in the data directory: the next start goes on with them. Ctrl-C lets the workers
finish what they hold; a second one ends everything at once, and still loses nothing that was accepted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `up`."""
    add = parser.add_argument
    add("--port", metavar="N", help="port of the proxy on 127.0.0.1, 0 for any free one (PORT, default 8000)")
    add("--workers", metavar="N", help="how many worker processes (WORKERS, default 2)")
    add("--max-workers", metavar="N", help="scale up to N workers, as many as --max-wait needs (MAX_WORKERS)")
    add("--min-workers", metavar="N", help="with --max-workers: keep at least N (MIN_WORKERS, default 0)")
    add("--max-wait", metavar="S", help="with --max-workers: seconds that a job may wait (MAX_WAIT, default 30)")
    add("--data-dir", metavar="DIR", help="where the queue and the logs are kept (DATA_DIR, default .inferqueue)")
    add(
        "--model-repository",
        metavar="DIR",
        help="folder of models, <model>/<version>/model.onnx (MODEL_REPOSITORY, default models)",
    )
    add("--model", dest="model_name", metavar="NAME", help="the model to serve (MODEL_NAME, default iris)")
    add("--redis-url", metavar="URL", help="use this Redis instead of one of its own (REDIS_URL)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; give the exit code."""
    settings, redis = read_settings(UpSettings, arguments), foreign_redis(arguments)
    stop, screen, data_dir = Stop(), Screen(), DataDir(settings.data_dir)
    stop.install()
    try:
        data_dir.take()
        check_port(settings.port)
        guard = Guard(data_dir.lock)
        try:
            return _serve(settings, Programs(settings, redis, data_dir, guard), data_dir, screen, stop)
        finally:
            guard.close()
    except StartError as error:
        print(f"inferqueue up: {error}", file=sys.stderr)
        return 1
    finally:
        data_dir.release()


def _serve(settings: UpSettings, programs: Programs, data_dir: DataDir, screen: Screen, stop: Stop) -> int:
    supervisor = Supervisor(programs, screen, stop)
    try:
        with screen.waiting(f"Starting Redis, the proxy and {_count(settings.first_workers, 'worker')}"):
            supervisor.start(settings.first_workers)
    except StopRequested:
        pass
    except BaseException:
        supervisor.kill()
        raise
    else:
        if not programs.use_foreign_redis:
            data_dir.note_redis(programs.redis_settings.url)
        screen.say(welcome(supervisor.address, settings, programs))
        supervisor.run()
    with screen.waiting("Stopping: workers finish what they hold"):
        drained = supervisor.drain()
    screen.say(
        "Stopped; what is queued waits for the next start." if drained else "Ended at once; nothing accepted is lost."
    )
    return 0 if drained else KILLED


def check_port(port: int) -> None:
    """Raise StartError when the proxy could not listen on this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise StartError(f"port {port} is for the administrator alone; take one from 1024 on with --port") from None
        except OSError:
            raise StartError(
                f"port {port} on {HOST} is taken by another program; choose another one with --port (0: any free one)"
            ) from None


def welcome(address: str, settings: UpSettings, programs: Programs) -> str:
    """Write what a person needs to begin."""
    data = example(settings.model_name, programs.model())
    return f"""\
inferqueue serves {settings.model_name} at {address}
({_workers(settings)}; {programs.redis_name()}; logs in {settings.data_dir / "logs"})

  curl -s {address}/predict -H 'content-type: application/json' -d '{{"data": {data}}}'
  curl -s {address}/job/JOB_ID

or wait for the answer at once: add -H 'prefer: wait=10'. Ctrl-C stops; queued jobs are kept.
"""


def example(model_name: str, model: ModelInfo | None) -> str:
    """Write data that the model takes, `…` where it is too much for one line or not numbers."""
    if model_name == "iris":
        return orjson.dumps(_FLOWER).decode()
    if model is None or len(model.inputs) != 1 or model.inputs[0].datatype in ("BYTES", "BOOL"):
        return "…"
    shape = [1 if length < 0 else length for length in model.inputs[0].metadata_shape]
    return orjson.dumps(np.zeros(shape).tolist()).decode() if prod(shape) <= 16 else "…"


def _workers(settings: UpSettings) -> str:
    if settings.objective is None:
        return _count(settings.workers, "worker")
    return f"{settings.min_workers} to {settings.most_workers} workers, so that no job waits for {settings.wait:g} s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
