"""What runs together, and that nothing is lost or mixed up when rows are joined and parted."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_worker.batching import DecodedJob, check_rows, decoded_job, join, pack, slices, stack
from inferqueue_worker.errors import BatchingError
from support.served import claimed


@dataclass(frozen=True)
class Item:
    number: int
    rows: int
    group: tuple[object, ...]


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    drawn = draw(st.lists(st.tuples(st.integers(1, 20), st.sampled_from("abc"))))
    return [Item(number, rows, (group,)) for number, (rows, group) in enumerate(drawn)]


@given(items(), st.integers(1, 30))
def test_every_job_is_packed_once(jobs: list[Item], max_rows: int) -> None:
    batches = pack(jobs, max_rows, batchable=True)
    assert sorted(job.number for batch in batches for job in batch) == [job.number for job in jobs]


@given(items(), st.integers(1, 30))
def test_a_batch_is_of_one_group_in_the_order_of_arrival(jobs: list[Item], max_rows: int) -> None:
    for batch in pack(jobs, max_rows, batchable=True):
        assert len({job.group for job in batch}) == 1
        assert [job.number for job in batch] == sorted(job.number for job in batch)


@given(items(), st.integers(1, 30))
def test_only_a_job_alone_exceeds_the_rows_of_a_run(jobs: list[Item], max_rows: int) -> None:
    for batch in pack(jobs, max_rows, batchable=True):
        assert len(batch) == 1 or sum(job.rows for job in batch) <= max_rows


@given(items(), st.integers(1, 30))
def test_the_oldest_job_runs_first(jobs: list[Item], max_rows: int) -> None:
    firsts = [batch[0].number for batch in pack(jobs, max_rows, batchable=True)]
    assert firsts == sorted(firsts)


@given(items())
def test_jobs_of_a_model_that_cannot_be_batched_stay_alone(jobs: list[Item]) -> None:
    assert pack(jobs, 100, batchable=False) == [(job,) for job in jobs]


def job_of(rows: np.ndarray, name: str = "x") -> DecodedJob:
    return decoded_job(claimed(0), {name: rows}, ("y",), as_json=True)


@given(st.lists(st.integers(1, 5), min_size=1), st.integers(1, 7))
def test_rows_come_back_as_they_were_joined(lengths: list[int], max_rows: int) -> None:
    total = sum(lengths)
    numbers = np.arange(total * 2, dtype=np.float32).reshape(total, 2)
    parts = np.split(numbers, np.cumsum(lengths)[:-1])
    joined = join(tuple(job_of(part) for part in parts))
    pieces = list(slices(joined, max_rows))
    assert all(len(piece["x"]) <= max_rows for piece in pieces)
    stacked = stack(pieces)["x"]
    assert isinstance(stacked, np.ndarray)
    np.testing.assert_array_equal(stacked, numbers)


def test_pieces_of_a_sequence_are_put_end_to_end() -> None:
    assert stack([{"y": [{0: 0.5}]}, {"y": [{0: 0.25}, {0: 1.0}]}]) == {"y": [{0: 0.5}, {0: 0.25}, {0: 1.0}]}


def test_jobs_of_other_shapes_types_or_outputs_are_of_other_groups() -> None:
    base = job_of(np.zeros((2, 3), np.float32))
    longer = job_of(np.zeros((2, 4), np.float32))
    double = job_of(np.zeros((2, 3), np.float64))
    more_rows = job_of(np.zeros((5, 3), np.float32))
    other_outputs = decoded_job(base.job, base.inputs, ("z",), as_json=False)
    assert base.group == more_rows.group
    assert len({job.group for job in (base, longer, double, other_outputs)}) == 4


def test_a_scalar_is_one_row() -> None:
    assert job_of(np.array(1.0)).rows == 1


@pytest.mark.parametrize("value", [np.zeros((3, 2)), np.float32(1), [1.0], {0: 1.0}])
def test_an_output_without_a_row_for_each_row_is_refused(value: object) -> None:
    with pytest.raises(BatchingError, match=r"output 'y' has shape .* for 2 rows"):
        check_rows({"y": value}, 2)  # type: ignore[dict-item]  # what a predictor should not give
