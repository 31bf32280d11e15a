"""A worker that has nothing more to do says so at once, and once between two regular beats."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from inferqueue_core.datatypes import Datatype
from inferqueue_core.jobs import ClaimedJob, LeaseState, WorkerReport
from inferqueue_core.jobs import Heartbeat as Reply
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import JobQueue
from inferqueue_worker.heartbeat import Heartbeat
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.peers import Peers
from support.waiting import wait_until

TENSOR = TensorSpec(name="x", datatype=Datatype.FP32, shape=(1,))
MODEL = ModelInfo(name="m", version="1", queue="q", inputs=(TENSOR,), outputs=(TENSOR,), batchable=False)
JOB = ClaimedJob("id", "1:1-nonce:worker", b"1")


@dataclass
class Beats:
    """A queue that notes each beat: (jobs held, whether it woke whoever scales)."""

    seen: list[tuple[int, bool]] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def extend(self, worker: str, report: WorkerReport, jobs: list[ClaimedJob], *, idle: bool = False) -> Reply:
        self.seen.append((len(jobs), idle))
        self.may_answer.wait(30)
        return Reply(False, tuple(LeaseState.HELD for _ in jobs))

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.fixture
def beats() -> Beats:
    return Beats()


@pytest.fixture
def held() -> HeldJobs:
    return HeldJobs()


@pytest.fixture
def heartbeat(beats: Beats, held: HeldJobs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heartbeat]:
    """One whose regular beats are an hour apart."""
    peers = Peers("worker", MODEL)
    heartbeat = Heartbeat(cast(JobQueue, beats), QueuePolicy(), "worker", MODEL, held, WorkerReport, peers)
    monkeypatch.setattr(heartbeat, "_interval", 3600.0)
    yield heartbeat
    beats.may_answer.set()
    heartbeat.stop()


def test_the_end_of_the_last_job_is_told_at_once_and_once(heartbeat: Heartbeat, beats: Beats, held: HeldJobs) -> None:
    held.add([JOB])
    heartbeat.start()
    beats.may_answer.set()
    wait_until(lambda: beats.seen == [(1, False)], what="the first beat")
    held.drop([JOB])
    heartbeat.rest()
    wait_until(lambda: len(beats.seen) == 2, what="a beat out of turn")
    heartbeat.rest()
    heartbeat.stop()
    assert beats.seen == [(1, False), (0, True)]


def test_nothing_is_told_by_a_worker_that_never_said_it_held_jobs(
    heartbeat: Heartbeat, beats: Beats, held: HeldJobs
) -> None:
    beats.may_answer.set()
    heartbeat.start()
    wait_until(lambda: beats.seen, what="the first beat")
    held.add([JOB])
    held.drop([JOB])
    heartbeat.rest()
    heartbeat.stop()
    assert beats.seen == [(0, False)]


def test_a_worker_that_took_jobs_again_wakes_nobody(heartbeat: Heartbeat, beats: Beats, held: HeldJobs) -> None:
    held.add([JOB])
    heartbeat.start()
    wait_until(lambda: beats.seen, what="the first beat, not answered yet")
    heartbeat.rest()
    beats.may_answer.set()
    wait_until(lambda: len(beats.seen) == 2, what="a beat out of turn")
    assert beats.seen == [(1, False), (1, False)]
