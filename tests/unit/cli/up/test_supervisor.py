"""How wishes to stop are counted."""

import pytest

from inferqueue.up.supervisor import Stop


@pytest.mark.parametrize(("pause", "now"), [(0.1, False), (1.0, True)])
def test_only_a_later_wish_ends_everything_at_once(pause: float, now: bool) -> None:
    times = iter([10.0, 10.0 + pause])
    stop = Stop(lambda: next(times))

    stop.ask()
    stop.ask()

    assert (stop.drain, stop.now) == (True, now)
