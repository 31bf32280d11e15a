"""The reading of replies and owners, without Redis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.ids import from_ms, new_job_id
from inferqueue_core.jobs import ClaimedJob, Job, JobStatus, NewJob, QueueDecision, Submission
from inferqueue_core.keys import QueueKeys
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.protocol import Protocol, parse_dead_letter, parse_job

protocol = Protocol(QueueKeys("q"), QueuePolicy())


@pytest.mark.parametrize(
    ("owner", "attempts", "worker", "started", "ended"),
    [
        (None, 0, None, None, None),
        (b"2:1000-ab:w", 2, "w", 1000, None),
        (b"2:1000-ab:w:2000", 2, "w", 1000, 2000),
        (b"3:1000-ab:w:dead:2000", 3, "w", 1000, 2000),
        (b"1::", 1, None, None, None),
        (b"1:::1000-ab", 1, None, None, None),
        (b"nonsense", 0, None, None, None),
    ],
)
def test_an_owner_tells_attempts_worker_and_times(
    owner: bytes | None, attempts: int, worker: str | None, started: int | None, ended: int | None
) -> None:
    job = parse_job("x", (b"failed", None, b"no", owner))
    times = [None if ms is None else from_ms(ms) for ms in (started, ended)]
    assert job == Job("x", JobStatus.FAILED, None, "no", attempts, worker, None, times[0], times[1])
    letter = parse_dead_letter("x", owner, b"no")
    assert (letter.error, letter.attempts, letter.died_at) == ("no", attempts, times[1])


def test_a_job_without_status_is_unknown() -> None:
    assert parse_job("x", (None, b"1", None, None)) is None


@given(st.none() | st.binary(), st.none() | st.binary(), st.none() | st.binary())
def test_whatever_others_wrote_is_read(result: bytes | None, error: bytes | None, owner: bytes | None) -> None:
    job = parse_job("x", (b"completed", result, error, owner))
    assert job is not None
    assert job.result == result
    parse_dead_letter("x", owner, error)


@pytest.mark.parametrize(("seconds", "milliseconds"), [(0, 0), (0.0001, 1), (0.5, 500), (3, 3000), (-1, 0)])
def test_a_deadline_in_milliseconds_is_never_lost(seconds: float, milliseconds: int) -> None:
    call = protocol.submit([Submission((NewJob(new_job_id(), b"1", seconds),))])
    assert call.args[-1] == milliseconds


def test_only_a_claim_is_sent_differently_again() -> None:
    claim = protocol.claim("w", "nonce", 1, 1, 1)
    again = claim.resent()
    assert (claim.args[-1], again.args[-1], again.args[:-1] == claim.args[:-1]) == ("0", "1", True)
    assert again.resent() is again
    cancel = protocol.cancel("x")
    assert cancel.resent() is cancel


def test_a_claimed_job_knows_its_attempt() -> None:
    assert ClaimedJob("x", "12:1-a:w", b"").attempt == 12


def decision_read(text: bytes | None) -> QueueDecision | None:
    return protocol.observe(0).parse([1, 0, 0, 0, 0, 0, [], [], [], [], [], text, None]).decision


@given(
    st.builds(
        QueueDecision,
        desired_replicas=st.integers(0, 2**31 - 1),
        replicas=st.integers(0, 2**31 - 1),
        reason=st.text(),
        message=st.text(),
        decided_at=st.integers(0, 253_402_300_799_999),
    )
)
def test_a_decision_is_read_as_it_was_written(decision: QueueDecision) -> None:
    command, key, text, *expiry = protocol.decision_written(decision)
    assert (command, key, expiry) == ("SET", "q:decision", ["EX", 90])
    assert isinstance(text, bytes)
    assert decision_read(text) == decision


def test_a_decision_of_a_newer_version_is_read() -> None:
    text = b'{"desired_replicas": 3, "replicas": 1, "reason": "Deadline", "message": "", "decided_at": 7, "later": []}'
    assert decision_read(text) == QueueDecision(
        desired_replicas=3, replicas=1, reason="Deadline", message="", decided_at=7
    )


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (b'"replicas": 1', b'"replicas": -1'),
        (b'"replicas": 1', b'"replicas": 99999999999999999999'),
        (b'"replicas": 1', b'"replicas": "many"'),
        (b'"reason": "Idle", ', b""),
        (b"Idle", b"\\ud800"),
        (b'"decided_at": 7', b'"decided_at": 253402300800000'),
        (b'"decided_at": 7', b'"decided_at": 7, "later": ' + b"[" * 100_000),
    ],
)
def test_what_cannot_be_meant_is_no_decision(part: bytes, value: bytes) -> None:
    good = b'{"desired_replicas": 0, "replicas": 1, "reason": "Idle", "message": "", "decided_at": 7}'
    assert decision_read(good) is not None
    assert decision_read(good.replace(part, value)) is None


@given(st.none() | st.binary())
def test_whatever_stands_for_a_decision_hides_no_queue(text: bytes | None) -> None:
    assert decision_read(text) is None
