"""Backoff: grows, is capped, and keeps at least half of itself."""

from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.retries import CAP_SECONDS, retry_delay

draws = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 1000), draws)
def test_half_is_kept_and_half_is_drawn(attempt: int, random: float) -> None:
    ceiling = min(CAP_SECONDS, 2.0 ** (attempt - 1))
    assert ceiling / 2 <= retry_delay(attempt, random) <= ceiling


@given(st.integers(1, 1000), draws)
def test_later_attempts_wait_no_less(attempt: int, random: float) -> None:
    assert retry_delay(attempt + 1, random) >= retry_delay(attempt, random)
