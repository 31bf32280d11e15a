"""Names of keys, and which names a queue may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.keys import QueueKeys, check_queue_name, events_channel, idempotency_key, job_key, models_key


@pytest.mark.parametrize("name", ["predict_queue", "a", "team-1:iris.v2", "x" * 200, "models2", "jobs", "stats"])
def test_usable_names(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 201,
        "a b",
        "a\n",
        "{a}",
        "ä",
        "models",
        "job:1",
        "idem:1",
        "a:leases",
        "a:dead",
        "a:workers:reports",
        "a:wake",
        "a:decision",
        "a:model",
    ],
)
def test_unusable_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not usable"):
        check_queue_name(name)
    with pytest.raises(ValueError, match="is not usable"):
        QueueKeys(name)


@given(st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True))
def test_two_queues_share_no_key(one: str, other: str) -> None:
    def names(queue: str) -> set[str]:
        keys = QueueKeys(queue)
        return {
            *(keys.queue, keys.leases, keys.delayed, keys.deadlines, keys.dead, keys.workers),
            *(keys.worker_reports, keys.retired, keys.stats, keys.wake, keys.learned, keys.decision),
            keys.model,
        }

    try:
        first, second = names(one), names(other)
    except ValueError:
        return
    assert len(first) == 13
    assert one == other or first.isdisjoint(second)


def test_the_prefix_stands_before_every_key() -> None:
    keys = QueueKeys("q", "{iq}:")
    assert (keys.queue, keys.leases, keys.jobs) == ("{iq}:q", "{iq}:q:leases", "{iq}:job:")
    assert job_key("{iq}:", "1", "data") == "{iq}:job:1:data"
    assert events_channel("{iq}:", "1") == "{iq}:job:1:events"
    assert (models_key("{iq}:"), idempotency_key("{iq}:", "f00")) == ("{iq}:models", "{iq}:idem:f00")
