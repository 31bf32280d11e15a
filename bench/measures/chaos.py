"""Jobs whose workers are killed all the time: how many are lost, and how many have their result accepted twice."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from context import Bench
from inferqueue_core.connection import connect
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import Job, JobStatus, NewJob, Submission
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import QueueSettings
from naive.iris import Iris
from programs import BENCH, MODELS, BenchError, clean_environment
from series import AtMost, Finding, Series

_WORKERS = 4
_KILL_SECONDS = 0.3
_LEASE_SECONDS = 0.5
_PAUSE_SECONDS = 1.0
# Each such victim is not killed but stopped for longer than its lease, so that its result comes too late.
_PAUSED_VICTIMS = 5
_ATTEMPTS = 100
_LIMIT_SECONDS = 180.0
_TOGETHER = 500
_IRIS = MODELS / "iris" / "1" / "model.onnx"


def measure(bench: Bench) -> list[Finding]:
    """Submit jobs, no two alike, kill workers until all have ended, and compare every result with the model's own."""
    count = bench.extent.chaos_jobs
    bench.say(f"{count:,} jobs while workers are killed")
    bench.server.empty()
    rows = np.random.default_rng(3).uniform(0.1, 8, (count, 4)).round(3).tolist()
    settings = QueueSettings(
        redis_url=bench.server.url, lease_seconds=_LEASE_SECONDS, job_ttl=600, max_attempts=_ATTEMPTS
    )
    with connect(settings) as client, _repository() as repository:
        queue = RedisJobQueue(client, settings.queue_name, settings.policy())
        ids = _submit(queue, rows)
        with Herd(settings, repository) as herd:
            _kill_until_done(queue, herd, count)
        jobs = [job for at in range(0, count, _TOGETHER) for job in queue.jobs(ids[at : at + _TOGETHER])]
        counters = queue.observe().counters
    right = sum(_is_right(job, answer) for job, answer in zip(jobs, _answers(rows), strict=True))
    ended = sum(job is not None and job.status is JobStatus.COMPLETED for job in jobs)
    again = sum(job is not None and job.attempts > 1 for job in jobs)
    note = (
        f"{herd.killed} workers killed, {herd.paused} stopped beyond their lease; {again} jobs begun more than once, "
        f"{counters.get('stale', 0)} late results refused"
    )
    what = f"{count:,} jobs, workers killed every {_KILL_SECONDS:g} s"
    twice = counters.get("completed", 0) - ended
    return [
        Finding(f"{what}: lost", "jobs", Series((float(count - right),)), AtMost(0), note),
        Finding(f"{what}: results accepted twice", "jobs", Series((float(twice),)), AtMost(0)),
    ]


class Herd:
    """Workers that are replaced as soon as they are killed."""

    def __init__(self, settings: QueueSettings, repository: Path) -> None:
        self.killed = self.paused = 0
        self._arguments = (
            *("--redis-url", settings.url, "--queue-name", settings.queue_name, "--job-ttl", f"{settings.job_ttl}"),
            *("--lease-seconds", f"{settings.lease_seconds}", "--max-attempts", f"{settings.max_attempts}"),
            *("--model-repository", str(repository), "--predictor", "slow_iris:make", "--runners", "2"),
            *("--host", "127.0.0.1", "--metrics-port", "0"),
        )
        self._started = 0
        self._workers: list[int] = []
        self._asleep: list[tuple[float, int]] = []

    def __enter__(self) -> "Herd":
        self._nursery = subprocess.Popen(
            [sys.executable, BENCH / "nursery.py"],
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.fill()
        return self

    def __exit__(self, *_: object) -> None:
        # At the end of its input the nursery kills the workers that are left.
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.close()
        self._nursery.wait(30)
        self._nursery.stdout.close()

    def fill(self) -> None:
        """Start workers until there are enough of them awake."""
        while len(self._workers) < _WORKERS:
            self._workers.append(self._start())

    def strike(self) -> None:
        """Kill a worker, or stop it for a while, and put a new one in its place."""
        victim = self._workers.pop(random.randrange(len(self._workers)))
        if (self.killed + self.paused) % _PAUSED_VICTIMS == _PAUSED_VICTIMS - 1:
            os.kill(victim, signal.SIGSTOP)
            self._asleep.append((time.monotonic() + _PAUSE_SECONDS, victim))
            self.paused += 1
        else:
            os.kill(victim, signal.SIGKILL)
            self.killed += 1
        self.fill()

    def wake(self) -> None:
        """Let stopped workers go on whose time has come."""
        now = time.monotonic()
        for _, worker in [entry for entry in self._asleep if entry[0] <= now]:
            os.kill(worker, signal.SIGCONT)
            self._workers.append(worker)
        self._asleep = [entry for entry in self._asleep if entry[0] > now]

    def _start(self) -> int:
        self._started += 1
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        name = f"worker-{self._started}"
        self._nursery.stdin.write(json.dumps([*self._arguments, "--worker-name", name]) + "\n")
        self._nursery.stdin.flush()
        answer = self._nursery.stdout.readline()
        if not answer:
            raise BenchError("workers cannot be started: the nursery has ended")
        return int(answer)


def _kill_until_done(queue: RedisJobQueue, herd: Herd, count: int) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    strike_at = time.monotonic() + 1
    while True:
        seen = queue.observe()
        ended = sum(seen.counters.get(name, 0) for name in ("completed", "failed", "dead", "expired"))
        if ended >= count and not (seen.length or seen.in_flight or seen.delayed):
            return
        if time.monotonic() > deadline:
            return  # what has not ended by now counts as lost
        if time.monotonic() >= strike_at:
            herd.strike()
            strike_at += _KILL_SECONDS
        herd.wake()
        time.sleep(0.02)


@contextmanager
def _repository() -> Iterator[Path]:
    """Lay out the Iris model with small batches."""
    with tempfile.TemporaryDirectory() as name:
        version = Path(name) / "iris" / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").symlink_to(_IRIS)
        settings = (MODELS / "iris" / "model.yaml").read_text()
        (version.parent / "model.yaml").write_text(f"{settings}\nmax_rows: 4\n")
        yield Path(name)


def _submit(queue: RedisJobQueue, rows: Sequence[list[float]]) -> list[str]:
    ids = [new_job_id() for _ in rows]
    jobs = [NewJob(job_id, json.dumps([row]).encode()) for job_id, row in zip(ids, rows, strict=True)]
    for start in range(0, len(jobs), _TOGETHER):
        queue.submit([Submission((job,)) for job in jobs[start : start + _TOGETHER]])
    return ids


def _answers(rows: list[list[float]]) -> list[str]:
    return [str(answer["class_name"]) for answer in Iris(str(_IRIS)).predict(rows)]


def _is_right(job: Job | None, answer: str) -> bool:
    return job is not None and job.result is not None and json.loads(job.result)["class_name"] == answer
