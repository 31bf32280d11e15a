"""A batch that fails costs only its culprit; what may pass is tried again; what is not wanted is not run."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from inferqueue_core.datatypes import Array
from inferqueue_core.jobs import Canceled, Completed, Failed, GiveBack, LeaseState, Retry
from inferqueue_worker.errors import BadInputError, BatchingError, TransientError
from inferqueue_worker.execution import BatchExecutor, Verdict
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.predictor import ModelSignature, Output, RunControl
from inferqueue_worker.served_model import ServedModel
from support.onnx_models import doubling, lasting, lookup
from support.served import decoded, executor, load
from support.waiting import wait_until

LONG = 1_000_000_000
"""Turns of the lasting model that no test waits for."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """A model that fails for indices beyond 3."""
    return load(tmp_path_factory.mktemp("table"), lookup(4))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """A model that runs for as long as its input says."""
    return load(tmp_path_factory.mktemp("slow"), lasting())


class Meddling:
    """The real predictor, with something done before each run; counts the runs."""

    def __init__(self, model: ServedModel, before: Callable[[Mapping[str, Array]], None] = lambda inputs: None) -> None:
        self._predictor = model.predictor
        self._before = before
        self.runs = 0

    def load(self) -> None: ...

    def metadata(self) -> ModelSignature:
        return self._predictor.metadata()

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        self.runs += 1
        self._before(inputs)
        return self._predictor.predict(inputs, outputs, control)


def meddled(model: ServedModel, before: Callable[[Mapping[str, Array]], None]) -> BatchExecutor:
    return executor(replace(model, predictor=Meddling(model, before)))


def results(verdicts: Sequence[Verdict]) -> list[Any]:
    return [orjson.loads(verdict.result) for verdict in verdicts if isinstance(verdict, Completed)]


def test_jobs_of_a_batch_get_their_own_rows(table: ServedModel) -> None:
    batch = decoded(table, [1], [2, 3], [0])
    verdicts = executor(table).run(batch)
    assert [verdict.job for verdict in verdicts] == [job.job for job in batch]
    assert results(verdicts) == [{"y": 10.0}, [{"y": 20.0}, {"y": 30.0}], {"y": 0.0}]


@given(st.integers(1, 40), st.data())
def test_halving_finds_the_one_culprit(table: ServedModel, jobs: int, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, jobs - 1))
    counting = Meddling(table)
    # How many rows pay on this machine at this moment is not what is asked here: all fit in a run, as in any batch.
    model = replace(table, predictor=counting, trial=replace(table.trial, max_rows=40))
    batch = decoded(table, *([99] if number == culprit else [number % 4] for number in range(jobs)))
    verdicts = executor(model).run(batch)
    failed = [verdict for verdict in verdicts if isinstance(verdict, Failed)]
    assert [verdict.job for verdict in failed] == [batch[culprit].job]
    assert len(results(verdicts)) == jobs - 1
    assert counting.runs <= 1 + 2 * math.ceil(math.log2(jobs))


def test_a_culprit_hears_what_was_wrong(table: ServedModel) -> None:
    (verdict,) = executor(table).run(decoded(table, [99]))
    assert isinstance(verdict, Failed)
    assert "indices element out of data bounds, idx=99 must be within the inclusive range [-4,3]" in verdict.error


def test_more_rows_than_a_run_takes_are_run_in_pieces(table: ServedModel) -> None:
    counting = Meddling(table)
    small = replace(table, predictor=counting, trial=replace(table.trial, max_rows=2))
    verdicts = executor(small).run(decoded(table, [0, 1, 2, 3, 0]))
    assert results(verdicts) == [[{"y": 0.0}, {"y": 10.0}, {"y": 20.0}, {"y": 30.0}, {"y": 0.0}]]
    assert counting.runs == 3


def test_a_run_past_its_time_is_tried_again_later(slow: ServedModel) -> None:
    held = HeldJobs()
    with supervised(held):
        (verdict,) = executor(slow, held, timeout=0.05).run(decoded(slow, [LONG]))
    assert isinstance(verdict, Retry)
    assert verdict.error == "it ran longer than 0.05 s (PREDICTION_TIMEOUT)"
    assert verdict.delay_seconds == 0.5


def test_a_slow_job_costs_its_neighbours_no_attempt(slow: ServedModel) -> None:
    held = HeldJobs()
    with supervised(held):
        verdicts = executor(slow, held, timeout=0.6).run(decoded(slow, [0], [LONG], [1]))
    assert [type(verdict) for verdict in verdicts] == [Completed, Retry, Completed]


@contextmanager
def supervised(held: HeldJobs) -> Iterator[None]:
    """End runs past their deadline, as the heartbeat does."""
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.005):
            held.stop_overdue(time.monotonic())

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    end.set()
    thread.join()


@pytest.mark.parametrize("error", [MemoryError(), TransientError("Failed to allocate memory")])
def test_a_lack_of_memory_is_met_with_smaller_batches(table: ServedModel, error: Exception) -> None:
    def refuse_many(inputs: Mapping[str, Array]) -> None:
        if len(inputs["x"]) > 2:
            raise error

    verdicts = meddled(table, refuse_many).run(decoded(table, [0], [1], [2], [3]))
    assert len(results(verdicts)) == 4


@pytest.mark.parametrize("error", [MemoryError(), TransientError("Failed to allocate memory")])
def test_a_job_for_which_memory_lacks_is_tried_again(table: ServedModel, error: Exception) -> None:
    def refuse(inputs: Mapping[str, Array]) -> None:
        raise error

    (verdict,) = meddled(table, refuse).run(decoded(table, [0]))
    assert isinstance(verdict, Retry)
    assert "memory" in verdict.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BadInputError("too loud"), "too loud"),
        (BatchingError("no rows"), "no rows"),
        (KeyError("gone"), "the model failed: KeyError: 'gone'"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(table: ServedModel, error: Exception, message: str) -> None:
    def refuse(inputs: Mapping[str, Array]) -> None:
        raise error

    (verdict,) = meddled(table, refuse).run(decoded(table, [0]))
    assert isinstance(verdict, Failed)
    assert verdict.error == message


def test_canceled_and_lost_jobs_are_not_run(table: ServedModel) -> None:
    held = HeldJobs()
    batch = decoded(table, [0], [1], [2])
    jobs = [job.job for job in batch]
    held.add(jobs)
    held.note(jobs, [LeaseState.CANCEL_REQUESTED, LeaseState.HELD, LeaseState.LOST])
    verdicts = executor(table, held).run(batch)
    assert verdicts[0] == Canceled(jobs[0])
    assert results(verdicts) == [{"y": 10.0}]
    assert len(verdicts) == 2


def test_a_job_that_is_canceled_while_it_runs_alone_is_stopped(slow: ServedModel) -> None:
    held = HeldJobs()
    batch = decoded(slow, [LONG])
    held.add([batch[0].job])
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.extend(executor(slow, held).run(batch)))
    thread.start()

    def ended() -> bool:
        # Whether the run has begun or not: each beat says the same again.
        held.note([batch[0].job], [LeaseState.CANCEL_REQUESTED])
        return not thread.is_alive()

    wait_until(ended)
    assert verdicts == [Canceled(batch[0].job)]


def test_a_job_that_is_canceled_while_it_runs_with_others_is_canceled_alone(tmp_path: Path) -> None:
    model = load(tmp_path, doubling())
    held = HeldJobs()
    batch = decoded(model, [[1, 1]], [[2, 2]])
    jobs = [job.job for job in batch]
    held.add(jobs)
    states = [LeaseState.CANCEL_REQUESTED, LeaseState.HELD]
    canceling = replace(model, predictor=Meddling(model, lambda inputs: held.note(jobs, states)))
    verdicts = executor(canceling, held).run(batch)
    assert verdicts[0] == Canceled(jobs[0])
    assert results(verdicts) == [{"y": [4.0, 4.0]}]


def test_when_the_grace_is_over_jobs_are_given_back(slow: ServedModel) -> None:
    held = HeldJobs()
    held.stop_all()
    batch = decoded(slow, [LONG], [LONG])
    assert executor(slow, held).run(batch) == [GiveBack(job.job) for job in batch]
    assert executor(slow, held).run(batch[:1]) == [GiveBack(batch[0].job)]
