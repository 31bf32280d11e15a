"""What a worker concludes from who else serves its model."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from inferqueue_core.jobs import ClaimedJob, Failed, JobTarget, QueueObservation, WorkerReport, WorkerState
from inferqueue_core.models import ModelInfo
from inferqueue_core.queue import JobQueue
from inferqueue_worker.peers import INTEREST_SECONDS, PATIENCE_SECONDS, Peers
from inferqueue_worker.strays import name_versions, refuse_pinned

ME = ModelInfo(name="m", version="2", queue="q", inputs=(), outputs=(), signature="s")
OLD = JobTarget(model="m", version="1")


def peer(version: str, name: str = "other", *, signature: str = "", **changes: Any) -> WorkerState:
    report = WorkerReport(model="m", version=version, signature=signature, stopping=changes.get("stopping", False))
    return WorkerState(name, 0, changes.get("retired", False), report)


class Seen:
    """A queue whose workers are these, beside others of the model's versions elsewhere."""

    def __init__(self, *workers: WorkerState, elsewhere: Mapping[str, "Seen"] | None = None) -> None:
        self.workers = workers
        self._elsewhere = elsewhere or {}

    def observe(self) -> QueueObservation:
        return QueueObservation(0, 0, 0, 0, 0, workers=self.workers)

    def models(self) -> dict[str, ModelInfo]:
        others = (
            ModelInfo(name="m", version=str(n), queue=name, inputs=(), outputs=())
            for n, name in enumerate(self._elsewhere)
        )
        return {ME.key: ME} | {model.key: model for model in others}

    def sibling(self, name: str) -> "Seen":
        return self._elsewhere[name]


def queue(*workers: WorkerState, **elsewhere: Seen) -> JobQueue:
    return cast(JobQueue, Seen(*workers, elsewhere=elsewhere))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("others", "owed"),
    [
        (queue(), "nothing"),
        (queue(peer("1", "me")), "nothing"),
        (queue(peer("2")), "nothing"),
        (queue(peer("3")), "all"),
        (queue(peer("3", signature="s")), "pinned"),
        (queue(peer("3"), peer("2", "third")), "nothing"),
        (queue(peer("3"), peer("2", "third", stopping=True)), "all"),
        (queue(peer("3"), peer("2", "third", retired=True)), "all"),
        (queue(peer("3", stopping=True)), "nothing"),
        (queue(p=Seen(peer("3"))), "all"),
        (queue(p=Seen(peer("3", stopping=True))), "nothing"),
        (queue(p=Seen()), "nothing"),
    ],
)
def test_what_a_worker_owes_when_it_stops(others: JobQueue, owed: str) -> None:
    assert Peers("me", ME).owed(others) == owed


def absent_and_gone(peers: Peers) -> tuple[set[str], set[str]]:
    return {*peers.claimant.absent}, {*peers.claimant.gone}


def test_a_version_is_absent_while_nobody_serves_it_and_then_given_up() -> None:
    clock = Clock()
    peers = Peers("me", ME, clock)
    peers.look(queue())
    assert peers.claimant.absent == frozenset()
    peers.note([OLD, JobTarget(model="another", version="7")])
    peers.look(queue(peer("1", stopping=True)))
    assert peers.claimant.absent == frozenset()
    peers.look(queue(peer("2")))
    assert absent_and_gone(peers) == ({"1"}, set())
    clock.now += PATIENCE_SECONDS
    peers.note([OLD])
    peers.look(queue())
    assert absent_and_gone(peers) == ({"1"}, {"1"})
    peers.look(queue(peer("1")))
    assert absent_and_gone(peers) == (set(), set())
    peers.look(queue())
    assert absent_and_gone(peers) == ({"1"}, set())


def test_what_was_known_of_a_version_is_forgotten_when_no_more_jobs_come_for_it() -> None:
    clock = Clock()
    peers = Peers("me", ME, clock)
    peers.note([OLD])
    peers.look(queue())
    assert peers.claimant.absent == {"1"}
    clock.now += INTEREST_SECONDS
    peers.look(queue())
    assert peers.claimant.absent == frozenset()


def test_a_job_that_asks_for_a_version_given_up_fails_with_both_versions() -> None:
    pinned = ClaimedJob("a", "1:1-a:w", b"1", JobTarget(model="m", version="1", pinned=True))
    loose, own = ClaimedJob("b", "1:1-a:w", b"1", OLD), ClaimedJob("c", "1:1-a:w", b"1")
    runnable, refused = refuse_pinned([pinned, loose, own], ME)
    assert (runnable, [failed.job for failed in refused]) == ([loose, own], [pinned])
    for failed in (refused[0], name_versions(Failed(loose, "data: no"), ME)):
        assert "version '1' of model 'm'" in failed.error
        assert "version '2'" in failed.error
    assert name_versions(Failed(own, "data: no"), ME).error == "data: no"
