"""Many scale-ins under random work on a real Redis: never is a worker given up that holds a job."""

import asyncio
import random
import threading

import pytest

from inferqueue_core.connection import connect
from inferqueue_core.jobs import ClaimedJob, Completed, WorkerReport
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from inferqueue_core.scaling import Memory
from inferqueue_operator.departures import Departures
from inferqueue_operator.links import QueueLink
from inferqueue_operator.looks import idle_workers, muster
from inferqueue_operator.servers import RedisServers
from inferqueue_operator.workloads import Pod
from support.jobs import submit_jobs
from support.kubelet import holders
from support.redis_servers import RedisServer
from support.workloads import pod

CREW = 12


class Workers:
    """Workers that claim and finish at random in a thread of their own; their reports are old now and then."""

    def __init__(self, url: str, seed: int) -> None:
        self._queue = RedisJobQueue(connect(RedisSettings(redis_url=url)), "predict_queue", QueuePolicy())
        self._random = random.Random(seed)
        self._held: dict[str, tuple[ClaimedJob, ...]] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Workers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._queue.finish([Completed(job, b"1") for jobs in self._held.values() for job in jobs])

    def add(self, name: str) -> None:
        with self._lock:
            self._held[name] = ()
            self._queue.extend(name, WorkerReport(), [])

    def remove(self, name: str) -> None:
        with self._lock:
            assert self._held.pop(name) == ()
            self._queue.forget_worker(name)

    def _run(self) -> None:
        while not self._end.is_set():
            with self._lock:
                if self._held:
                    self._step(self._random.choice(list(self._held)))
            if self._queue.observe().length < CREW // 2:
                submit_jobs(self._queue, self._random.randint(0, 3))

    def _step(self, name: str) -> None:
        jobs = self._held[name]
        if jobs and self._random.random() < 0.5:
            self._queue.finish([Completed(job, b"1") for job in jobs])
            self._held[name] = ()
        elif not jobs:
            self._held[name] = self._queue.claim(name, 1, 1 << 20).jobs
        if self._random.random() < 0.5:
            self._queue.extend(name, WorkerReport(in_flight=len(self._held[name])), self._held[name])


class Marks:
    """The part of the cluster that a scale-in needs: pods that were marked as cheap to delete."""

    def __init__(self) -> None:
        self.cheap: set[str] = set()

    async def mark(self, pod: Pod, *, cheap: bool) -> None:
        (self.cheap.add if cheap else self.cheap.discard)(pod.name)


@pytest.mark.parametrize("scale_ins", [300, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_no_busy_worker_is_given_up(redis_server: RedisServer, scale_ins: int) -> None:
    with Workers(redis_server.url, seed=scale_ins) as workers:
        assert asyncio.run(_scale_in_often(redis_server, workers, scale_ins)) == 0


async def _scale_in_often(redis: RedisServer, workers: Workers, scale_ins: int) -> int:
    servers, marks = RedisServers(RedisSettings(redis_url=redis.url)), Marks()
    link = QueueLink(servers, None, "predict_queue", "test/iris", lambda _: None)
    departures = Departures(marks, {})  # type: ignore[arg-type]  # the one method of a cluster that it uses
    chance = random.Random(scale_ins)
    pods: list[Pod] = []
    done = stopped = named = 0
    while done < scale_ins:
        while len(pods) < CREW:
            named += 1
            pods.append(pod(f"worker-{named}"))
            workers.add(pods[-1].name)
        observation, _ = await link.look("", Memory())
        crew = muster(pods, {worker.name for worker in observation.workers}, observation.retired, beats=True)
        idle = idle_workers(crew, observation, None, 0.0)
        granted = await departures.prepare(link, crew, chance.randint(1, 4), idle)
        assert {each.name for each in granted} == marks.cheap
        busy = holders(redis)
        for leaving in granted:
            stopped += leaving.name in busy
            workers.remove(leaving.name)
            pods.remove(leaving)
        marks.cheap.clear()
        done += len(granted)
        await asyncio.sleep(0)
    await link.close()
    return stopped
