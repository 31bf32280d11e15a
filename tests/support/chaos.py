"""Producers and workers as processes that may be killed at any moment, and what must be true when all is done."""

import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import redis

from inferqueue_core.connection import connect
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import Completed, FinishOutcome, JobStatus, NewJob, Submission
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.key_leaks import leaked_keys
from support.redis_servers import RedisServer

QUEUE = "predict_queue"
ACCEPTED = "test:accepted"
_NAIVE_TTL = 3600

# A fresh interpreter for every replaced process would cost more than the chaos itself: processes are forked from one
# that has imported what is slow to import.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["__main__", "inferqueue_core.queue"])


@dataclass(frozen=True, slots=True)
class Plan:
    """What the processes do: `slow_share` of the jobs outlast their lease at the first attempt."""

    url: str
    lease: float = 0.5
    patience: float = 0.0
    slow_share: float = 0.01
    naive_share: float = 0.5
    batch: int = 8

    def queue(self) -> RedisJobQueue:
        policy = QueuePolicy(lease=self.lease, max_attempts=10_000, max_length=0)
        return RedisJobQueue(connect(RedisSettings(redis_url=self.url)), QUEUE, policy, patience=self.patience)


def produce(plan: Plan, acknowledged: Path, count: int, seed: int) -> None:
    """Submit `count` jobs, and write each id down once it was acknowledged."""
    rng = random.Random(seed)
    queue = plan.queue()
    strange = redis.Redis.from_url(plan.url)
    with acknowledged.open("a", buffering=1) as acks:
        for _ in range(count):
            job_id = new_job_id()
            data = json.dumps({"slow": rng.random() < plan.slow_share}).encode()
            if rng.random() < plan.naive_share:
                strange.set(f"job:{job_id}:data", data, ex=_NAIVE_TTL)
                strange.set(f"job:{job_id}:status", "pending", ex=_NAIVE_TTL)
                strange.lpush(QUEUE, job_id)
            else:
                queue.submit([Submission((NewJob(job_id, data),))])
            acks.write(f"{job_id}\n")


def work(plan: Plan, name: str) -> None:
    """Claim, run and finish jobs for ever, and note each accepted result under its fence."""
    queue = plan.queue()
    record = connect(RedisSettings(redis_url=plan.url))
    next_reap = 0.0
    while True:
        if time.monotonic() >= next_reap:
            queue.reap()
            next_reap = time.monotonic() + queue.policy.reap_interval
        jobs = queue.claim(name, plan.batch, 1 << 20).jobs
        if not jobs:
            queue.wait(queue.policy.reap_interval)
            continue
        slow = any(json.loads(job.data)["slow"] and job.attempt == 1 for job in jobs)
        time.sleep(1.6 * plan.lease if slow else 0.002)
        outcomes = queue.finish([Completed(job, job.fence.encode()) for job in jobs])
        ours = [
            f"{job.id} {job.fence}"
            for job, outcome in zip(jobs, outcomes, strict=True)
            if outcome != FinishOutcome.STALE
        ]
        while ours:
            try:
                record.sadd(ACCEPTED, *ours)
                break
            except redis.RedisError:
                time.sleep(0.01)


class Crowd:
    """Processes that do one thing; whoever is killed or ends is replaced while the crowd is kept up."""

    def __init__(self, size: int, spawn: Callable[[int], BaseProcess]) -> None:
        self._spawn = spawn
        self._spawned = 0
        self.members = [self._next() for _ in range(size)]

    def _next(self) -> BaseProcess:
        self._spawned += 1
        process = self._spawn(self._spawned)
        process.start()
        return process

    def kill(self, index: int) -> None:
        """Kill one with SIGKILL and put another in its place."""
        self._end(self.members[index])
        self.members[index] = self._next()

    def keep_up(self) -> None:
        """Replace those that have ended by themselves."""
        for index, process in enumerate(self.members):
            if process.exitcode is not None:
                self.kill(index)

    def stop(self) -> None:
        while self.members:
            self._end(self.members.pop())

    @staticmethod
    def _end(process: BaseProcess) -> None:
        process.kill()
        process.join()
        process.close()


def worker_process(plan: Plan, number: int) -> BaseProcess:
    return _processes.Process(target=work, args=(plan, f"worker-{number}"), daemon=True)


def producer_process(plan: Plan, folder: Path, count: int, number: int) -> BaseProcess:
    return _processes.Process(target=produce, args=(plan, folder / f"{number}.acks", count, number), daemon=True)


@contextmanager
def crowds(*made: Crowd) -> Iterator[None]:
    """Stop all of them at the end, whatever happens."""
    try:
        yield
    finally:
        for crowd in made:
            crowd.stop()


def acknowledged_ids(folder: Path) -> list[str]:
    """Read what producers wrote down; a killed one may have left half a line."""
    lines = [line for file in folder.glob("*.acks") for line in file.read_text().splitlines(keepends=True)]
    return [line.strip() for line in lines if line.endswith("\n")]


def all_have_ended(queue: RedisJobQueue) -> bool:
    observation = queue.observe()
    return observation.length == observation.in_flight == observation.delayed == 0


def check_promises(server: RedisServer, queue: RedisJobQueue, ids: list[str], *, recorded: bool = True) -> None:
    """Every acknowledged job completed, with one accepted result each, and nothing is left behind."""
    statuses = Counter(job.status if job else None for job in queue.jobs(ids))
    assert statuses == {JobStatus.COMPLETED: len(ids)}, statuses
    assert queue.dead_letters() == []
    with server.client() as client:
        assert leaked_keys(client) == []
        if recorded:
            accepted = dict[str, str]()
            for member in client.sscan_iter(ACCEPTED, count=1000):
                job_id, fence = member.decode().split(" ")
                assert accepted.setdefault(job_id, fence) == fence, f"two results of {job_id} were accepted"
            for job in queue.jobs(list(accepted)):
                assert job is not None
                assert job.result == accepted[job.id].encode()
