"""How soon a program is started again."""

from inferqueue.up.child import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, SETTLED_SECONDS, Backoff


def test_waits_longer_each_time() -> None:
    backoff = Backoff()

    assert [backoff.delay(0.1) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_forgets_when_a_program_has_lived_for_long() -> None:
    backoff = Backoff()
    for _ in range(100):
        backoff.delay(0)

    assert backoff.delay(0) == LONGEST_DELAY_SECONDS
    assert backoff.delay(SETTLED_SECONDS) == FIRST_DELAY_SECONDS
