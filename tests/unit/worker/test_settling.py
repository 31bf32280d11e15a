"""Endings are stored in pieces of bounded size, in their order."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.jobs import Canceled, Completed, Ending, Failed, GiveBack
from inferqueue_worker.settling import portions, size_of
from support.served import claimed

JOB = claimed([1])
completed = st.binary(max_size=30).map(lambda result: Completed(JOB, result))
endings = st.lists(completed | st.just(Failed(JOB, "no")) | st.just(Canceled(JOB)))


@given(endings, st.integers(1, 40))
def test_pieces_are_as_large_as_may_be_and_no_larger(some: list[Ending], most: int) -> None:
    pieces = list(portions(some, most))
    assert [ending for piece in pieces for ending in piece] == some
    assert all(pieces)
    assert all(len(piece) == 1 or sum(map(size_of, piece)) <= most for piece in pieces)
    for piece, after in pairwise(pieces):
        assert sum(map(size_of, piece)) + size_of(after[0]) > most


def test_only_results_have_a_size() -> None:
    assert size_of(Completed(JOB, b"12345")) == 5
    assert [size_of(ending) for ending in (Failed(JOB, "no"), Canceled(JOB), GiveBack(JOB))] == [0, 0, 0]
