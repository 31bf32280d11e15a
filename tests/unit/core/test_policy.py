"""The numbers behind the promise «a killed worker's jobs run elsewhere within lease + lease/4»."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.policy import QueuePolicy


@given(st.floats(0.1, 3600))
def test_reaping_is_often_enough_for_the_promise(lease: float) -> None:
    policy = QueuePolicy(lease=lease)
    assert policy.reap_interval <= lease / 4
    assert policy.reap_interval <= 1
    assert policy.silence_limit >= 2 * lease


@pytest.mark.parametrize(("lease", "silence"), [(0.5, 10), (30, 60)])
def test_a_worker_is_forgotten_later_than_its_leases(lease: float, silence: float) -> None:
    assert QueuePolicy(lease=lease).silence_limit == silence
