"""Job ids carry the time of their making."""

import time
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.ids import created_at, created_ms, from_ms, new_job_id


def test_a_new_id_is_a_uuid_of_version_7() -> None:
    parsed = uuid.UUID(new_job_id())
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_a_new_id_tells_its_time_with_and_without_dashes() -> None:
    before = time.time_ns() // 1_000_000
    job_id = new_job_id()
    after = time.time_ns() // 1_000_000
    made = created_ms(job_id)
    assert made is not None
    assert before <= made <= after
    assert created_ms(str(uuid.UUID(job_id))) == made
    assert created_at(job_id) == from_ms(made)


def test_ids_are_unique() -> None:
    assert len({new_job_id() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    "job_id",
    [
        *("", "job-1", "0" * 32, "f47ac10b58cc4372a5670e02b2c3d479", "z" * 12 + "7" + "0" * 3 + "8" + "0" * 15),
        *("01a206493c5b7c6e03ef02d86c8f8172", "ffffffffffff70008000000000000000"),
    ],
)
def test_other_ids_have_no_time(job_id: str) -> None:
    assert created_ms(job_id) is None
    assert created_at(job_id) is None


@given(st.text(max_size=40) | st.from_regex("[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", fullmatch=True))
def test_any_text_may_be_asked(job_id: str) -> None:
    created_at(job_id)


def test_milliseconds_are_utc() -> None:
    assert from_ms(1_500) == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
