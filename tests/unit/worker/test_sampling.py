"""What no trial foresaw is found while the model serves: the batch is answered by rows, and batches are over."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.jobs import Completed, Failed, Retry
from inferqueue_core.tensors import Envelope, Tensor, decode_envelope, encode_envelope
from inferqueue_worker.errors import BadInputError, TransientError
from inferqueue_worker.execution import BatchExecutor, Verdict
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.results import ResultWriter
from inferqueue_worker.sampling import SHARE, Batches
from inferqueue_worker.served_model import ServedModel, load_model
from support.onnx_models import array_classifier, store
from support.row_functions import APART, MIXING, Function, RowFunction, mixed_beyond, tags
from support.served import decoded, load

RARE = 5000.0


def serve(folder: Path, function: Function, max_rows: int = 64, output: Datatype = Datatype.FP32) -> ServedModel:
    """Serve a function that the trial calls batchable."""
    files = store(folder, b"")
    model = load_model(files, lambda files: RowFunction(function, output=output), 1)
    return replace(model, trial=replace(model.trial, batchable=True, max_rows=max_rows))


def sampling(model: ServedModel, batches: Batches | None = None) -> BatchExecutor:
    writer = ResultWriter(model.info("predict_queue"))
    return BatchExecutor(
        model, writer, HeldJobs(), WorkerMetrics(), 60, lambda: 0.0, model.pace(), batches or Batches(SHARE)
    )


def results(verdicts: Sequence[Verdict]) -> list[Any]:
    assert all(isinstance(verdict, Completed) for verdict in verdicts), verdicts
    return [orjson.loads(verdict.result) for verdict in verdicts if isinstance(verdict, Completed)]


def row(value: Any) -> list[list[Any]]:
    return [[value, 1, 2, 3]]


def mean_off(value: float) -> dict[str, list[float]]:
    """Give what the function gives a row alone."""
    values = np.array(row(value)[0], np.float32)
    return {"y": (values - values.mean()).tolist()}


def test_a_model_that_mixes_rare_values_passes_the_trial(tmp_path: Path) -> None:
    model = load_model(store(tmp_path, b""), lambda files: RowFunction(mixed_beyond(RARE)), 1)
    assert model.trial.batchable, model.trial.reason


def test_a_checked_batch_that_mixes_is_answered_by_rows_and_is_the_last(tmp_path: Path) -> None:
    model = serve(tmp_path, mixed_beyond(RARE))
    runner = sampling(model)
    answers = results(runner.run(decoded(model, row(9000), row(6), row(7000))))
    assert answers == [mean_off(9000), {"y": [6, 1, 2, 3]}, mean_off(7000)]
    assert not runner.batches.allowed
    assert runner.metrics.row_mismatches.series()[()].sum == 1
    # Later batches are packed no more; what had been packed before runs alone as well.
    assert results(runner.run(decoded(model, row(6), row(9000)))) == [{"y": [6, 1, 2, 3]}, mean_off(9000)]


def test_the_log_names_output_rows_and_shapes_but_no_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = serve(tmp_path, mixed_beyond(RARE))
    with caplog.at_level(logging.INFO):
        sampling(model).run(decoded(model, row(5678), row(6)))
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    said = record.__dict__
    assert record.message == "rows of the model depend on each other: each job runs alone from now on"
    assert said["reason"] == "output 'y' of a row depends on the rows beside it"
    assert (said["rows"], said["batch_rows"], said["shapes"]) == (1, 2, {"x": (1, 4)})
    assert "5678" not in str(said)


def test_batches_end_once(tmp_path: Path) -> None:
    ends: list[int] = []
    model = serve(tmp_path, MIXING["mean taken off"])
    runner = sampling(model, Batches(SHARE, lambda: ends.append(1)))
    for _ in range(3):
        runner.run(decoded(model, row(1), row(2)))
    assert ends == [1]


@pytest.mark.parametrize("name", APART)
def test_rows_that_stay_apart_go_on_in_batches(tmp_path: Path, name: str) -> None:
    model = serve(tmp_path, APART[name], output=Datatype.BYTES if name == "texts" else Datatype.FP32)
    runner = sampling(model, Batches(1e9))
    random = np.random.default_rng(9)
    for size in range(2, 20):
        jobs = decoded(model, *(random.normal(size=(size % 3 + 1, 4)).tolist() for _ in range(size)))
        runner.run(jobs)
        runner.batches.worked(1.0)
    assert runner.batches.allowed
    assert runner.metrics.checked_batches.series()[()].sum == 18


# 2e-5 of the mean passes for rounding here; the trial, which compares with copies, sees it.
@pytest.mark.parametrize("name", [name for name in MIXING if name not in ("a little of the mean", "axis 0 gone")])
def test_the_first_batch_shows_what_a_trial_would_have(tmp_path: Path, name: str) -> None:
    model = serve(tmp_path, MIXING[name])
    runner = sampling(model)
    values: list[Any] = [3, 0.9, 3, -2, 0.7, 8, 3]
    if name == "not a number everywhere":
        values[4] = "NaN"
    batch = decoded(model, *(row(value) for value in values))
    runner.run(batch)
    assert not runner.batches.allowed


def test_a_job_that_is_cut_is_checked_by_rows_and_answered_whole(tmp_path: Path) -> None:
    model = serve(tmp_path, mixed_beyond(RARE), max_rows=2)
    runner = sampling(model)
    data = [row(value)[0] for value in (1, 2, 3, 4, 9000)]
    (answer,) = results(runner.run(decoded(model, data)))
    whole = np.array(data, np.float32)
    # The mean of the whole job, as it is what the model gives when it is handed that job.
    assert answer == [{"y": values} for values in (whole - whole.mean()).tolist()]
    assert not runner.batches.allowed


def test_a_job_alone_gets_its_whole_outputs_whatever_their_rows(tmp_path: Path) -> None:
    model = serve(tmp_path, tags, output=Datatype.INT64)
    runner = sampling(model)
    none, one, two = (
        results(runner.run(decoded(model, data)))[0] for data in ([[0] * 4], [[0, 0, 1, 0]], [[1, 1, 0, 0]])
    )
    assert (none, one, two) == ({"y": []}, {"y": 2}, {"y": [0, 1]})
    assert not runner.batches.allowed


def test_a_job_alone_gets_its_whole_outputs_in_an_envelope(tmp_path: Path) -> None:
    model = serve(tmp_path, tags, output=Datatype.INT64)
    array = np.array([[1, 1, 0, 1]], np.float32)
    data = encode_envelope(Envelope((Tensor("x", Datatype.FP32, array),)))
    (verdict,) = sampling(model).run(decoded(model, data))
    assert isinstance(verdict, Completed)
    (tensor,) = decode_envelope(verdict.result).tensors
    assert tensor.array.tolist() == [0, 1, 3]


def test_a_batch_whose_rows_do_not_add_up_is_run_by_rows(tmp_path: Path) -> None:
    model = serve(tmp_path, tags, output=Datatype.INT64)
    runner = sampling(model, Batches())
    answers = results(runner.run(decoded(model, [[1, 1, 1, 0]], [[0, 0, 1, 0]])))
    assert answers == [{"y": [0, 1, 2]}, {"y": 2}]
    assert runner.metrics.row_mismatches.series()[()].sum == 1


def test_results_keep_their_form_when_batches_end(tmp_path: Path) -> None:
    model = load(tmp_path, array_classifier())
    runner = sampling(model)
    before = results(runner.run(decoded(model, row(1), [[1, 2, 3, 4], [4, 3, 2, 1]])))
    runner.batches.end()
    after = results(runner.run(decoded(model, row(1), [[1, 2, 3, 4], [4, 3, 2, 1]])))
    assert [set(before[0]), len(before[1])] == [{"prediction", "class_name", "probabilities"}, 2]
    assert after[0]["prediction"] == before[0]["prediction"]
    assert [entry["prediction"] for entry in after[1]] == [entry["prediction"] for entry in before[1]]


def test_a_row_that_is_refused_alone_only_fails_alone(tmp_path: Path) -> None:
    def refuse_alone(x: Array) -> object:
        if len(x) == 1 and x[0, 0] == 77:
            raise BadInputError("77 alone")
        return x

    model = serve(tmp_path, refuse_alone)
    runner = sampling(model)
    bad, good = runner.run(decoded(model, row(77), row(1)))
    assert isinstance(bad, Failed)
    assert isinstance(good, Completed)
    assert not runner.batches.allowed


@pytest.mark.parametrize("error", [TransientError("no time"), MemoryError(), KeyError("odd")])
def test_a_check_that_cannot_be_made_costs_no_job(tmp_path: Path, error: Exception) -> None:
    def fail_alone(x: Array) -> object:
        if len(x) == 1:
            raise error
        return x

    model = serve(tmp_path, lambda x: x)
    model = replace(model, predictor=RowFunction(fail_alone))
    runner = sampling(model)
    assert len(results(runner.run(decoded(model, row(1), row(2))))) == 2
    assert runner.batches.allowed
    assert runner.metrics.checked_batches.series()[()].sum == 0


def test_a_job_for_which_memory_lacks_is_still_tried_again(tmp_path: Path) -> None:
    def fail(x: Array) -> object:
        raise MemoryError

    model = replace(serve(tmp_path, lambda x: x), predictor=RowFunction(fail))
    assert all(isinstance(verdict, Retry) for verdict in sampling(model).run(decoded(model, row(1), row(2))))


# ---- how often ----


def test_the_first_batch_is_checked() -> None:
    assert Batches(SHARE).begin_check(0.01)


def test_a_check_that_would_take_long_waits_until_there_is_room_for_all_of_it() -> None:
    batches = Batches(SHARE)
    assert not batches.begin_check(7.0)
    batches.worked(699)
    assert not batches.begin_check(7.0)
    batches.worked(2)
    assert batches.begin_check(7.0)


def test_without_a_share_none_is_checked() -> None:
    assert not Batches().begin_check(0.01)


def test_one_batch_is_checked_at_a_time() -> None:
    batches = Batches(SHARE)
    assert batches.begin_check(0.01)
    assert not batches.begin_check(0.01)
    batches.end_check(0.0)
    assert batches.begin_check(0.01)


@given(st.lists(st.tuples(st.floats(1e-5, 1), st.floats(1e-5, 1)), min_size=1, max_size=300))
def test_checks_cost_their_share_of_the_busy_time_and_one_more(batches_and_checks: list[tuple[float, float]]) -> None:
    batches = Batches(SHARE)
    busy = spent = 0.0
    for batch, check in batches_and_checks:
        batches.worked(batch)
        busy += batch
        if batches.begin_check(0.01):
            batches.end_check(check)
            spent += check
        assert spent <= SHARE * busy + 1


def test_checks_go_on_as_long_as_the_worker_works() -> None:
    batches = Batches(SHARE)
    checked = 0
    for _ in range(10_000):
        batches.worked(0.01)
        if batches.begin_check(0.01):
            batches.end_check(0.02)
            checked += 1
    assert 45 <= checked <= 55
