"""How many jobs make a claim, by what real runs take."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_worker.pace import GROWTH, SHORT_SECONDS, Pace
from inferqueue_worker.timing import Timing

# A model that takes 1 ms, whatever its rows.
QUICK = [Timing(rows, 0.001) for rows in (1, 2, 4, 8, 16, 32, 64)]


def work(pace: Pace, seconds: Callable[[int], float], claims: int = 20, rows_per_job: int = 1, most: int = 64) -> int:
    """Run claims as large as may be, in runs of `most` rows; return how many jobs the next one holds."""
    for _ in range(claims):
        jobs = pace.jobs
        left = jobs * rows_per_job
        while left > 0:
            pace.ran(min(left, most), seconds(min(left, most)))
            left -= most
        pace.claimed(jobs, jobs * rows_per_job)
    return pace.jobs


def test_the_first_claim_holds_one_job_and_claims_grow_from_there() -> None:
    pace = Pace(QUICK, 200, 64)
    sizes = [pace.jobs]
    for _ in range(5):
        work(pace, lambda rows: 0.001, claims=1)
        sizes.append(pace.jobs)
    assert sizes == [1, GROWTH, GROWTH**2, GROWTH**3, 200, 200]


def test_jobs_that_take_long_each_are_claimed_one_by_one() -> None:
    pace = Pace(QUICK, 64, 64)
    claimed = []
    for _ in range(50):
        claimed.append(pace.jobs)
        work(pace, lambda rows: 1.0 * rows, claims=1)
    assert pace.jobs == 1
    assert max(claimed) <= GROWTH
    assert claimed[10:] == [1] * 40


def test_runs_that_take_long_whatever_their_rows_hold_as_many_as_may_be() -> None:
    assert work(Pace(QUICK, 64, 64), lambda rows: 2.0) == 64


@pytest.mark.parametrize(("fixed", "each", "best"), [(1.0, 0.01, 64), (0.3, 0.3, 16)])
def test_rows_are_joined_while_that_gains(fixed: float, each: float, best: int) -> None:
    assert work(Pace(QUICK, 64, 64), lambda rows: fixed + each * rows) == best


def test_short_claims_are_as_large_as_may_be_though_rows_gain_nothing() -> None:
    assert work(Pace([Timing(1, 0.0005)], 100, 1), lambda rows: 0.001 * rows, most=1) == 100
    assert work(Pace([Timing(1, 0.0005)], 100, 1), lambda rows: 0.01 * rows, most=1) == 16


def test_jobs_of_many_rows_count_by_their_rows() -> None:
    pace = Pace(QUICK, 64, 64)
    assert work(pace, lambda rows: 0.001 * rows, rows_per_job=50) == 4
    assert SHORT_SECONDS >= 4 * 50 * 0.001


def test_when_jobs_become_short_again_claims_grow_again() -> None:
    pace = Pace(QUICK, 64, 64)
    assert work(pace, lambda rows: 1.0 * rows) == 1
    assert work(pace, lambda rows: 0.001) == 64
    assert work(pace, lambda rows: 1.0 * rows) == 1


def test_one_run_that_was_disturbed_is_soon_forgotten() -> None:
    pace = Pace(QUICK, 64, 64)
    work(pace, lambda rows: 0.001)
    pace.ran(64, 30.0)
    assert work(pace, lambda rows: 0.001, claims=2) == 64


def test_a_model_that_could_not_be_tried_is_given_single_jobs() -> None:
    assert work(Pace([], 1, 1), lambda rows: 0.001) == 1


runs = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 10_000), st.floats(0, 100)), max_size=30)


@given(st.integers(1, 256), st.integers(1, 1024), runs)
def test_whatever_runs_take_a_claim_has_one_job_or_more_and_no_more_than_its_limit(
    limit: int, max_rows: int, runs: list[tuple[int, int, float]]
) -> None:
    pace = Pace(QUICK, limit, max_rows)
    for jobs, rows, seconds in runs:
        pace.ran(rows, seconds)
        if jobs:
            pace.claimed(jobs, rows)
        assert 1 <= pace.jobs <= limit
