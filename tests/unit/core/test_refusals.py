"""A call that fails while Redis answers is refused; what fails with Redis is an outage."""

import pytest
import redis

from inferqueue_core.errors import QueueRefusedError
from inferqueue_core.refusals import LEAST_BYTES, TRIES, Refusals

BROKEN = redis.ConnectionError("Error 32 while writing to socket. Broken pipe.")


def counting(size: int) -> Refusals:
    return Refusals(lambda: size)


def test_a_call_that_fails_again_and_again_while_redis_answers_is_refused() -> None:
    refusals = counting(LEAST_BYTES)
    for _ in range(TRIES - 1):
        refusals.count(BROKEN, answers=True)
    with pytest.raises(QueueRefusedError, match=r"has refused a call of 262,144 bytes 3 times: .*Broken pipe"):
        refusals.count(BROKEN, answers=True)


def test_an_outage_in_between_begins_the_count_anew() -> None:
    refusals = counting(LEAST_BYTES)
    for answers in (True, True, False, True, True, False):
        refusals.count(BROKEN, answers=answers)


@pytest.mark.parametrize("error", [BROKEN, redis.TimeoutError("late"), BrokenPipeError()])
def test_only_a_large_call_may_be_refused_for_its_size(error: Exception) -> None:
    assert counting(LEAST_BYTES).may_hold(error)
    assert not counting(LEAST_BYTES - 1).may_hold(error)


@pytest.mark.parametrize("error", [redis.ReadOnlyError("replica"), redis.ResponseError("MISCONF no disk")])
def test_what_a_server_refuses_everybody_is_an_outage(error: Exception) -> None:
    assert not counting(LEAST_BYTES).may_hold(error)
