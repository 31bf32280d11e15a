"""Numbers that many threads add to."""

import time
from concurrent.futures import ThreadPoolExecutor

from inferqueue_worker.metrics import Tally


def test_no_addition_is_lost_between_threads() -> None:
    tally = Tally((1, 2), labeled=True)

    def add_many(_: int) -> None:
        for _ in range(2000):
            tally.add(2, "run")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_many, range(8)))
    (series,) = tally.series().values()
    assert (series.sum, series.buckets) == (32_000, [0, 16_000, 0])


def test_a_series_says_since_when_it_counts() -> None:
    before = time.time()
    tally = Tally()
    tally.add(1)
    assert before <= tally.series()[()].since <= time.time()


def test_what_was_read_does_not_change() -> None:
    tally = Tally((1,))
    read = tally.series()[()]
    tally.add(1)
    assert (read.sum, read.buckets) == (0, [0, 0])
