"""A trial ends: its runs are stopped in time, and what cannot be stopped ends the start with a sentence."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inferqueue_core.datatypes import Array
from inferqueue_worker import supervision
from inferqueue_worker.errors import ModelLoadError, TrialTimeoutError
from inferqueue_worker.repository import ModelConfig
from inferqueue_worker.supervision import TrialRuns, supervised
from inferqueue_worker.trial import try_model
from support.onnx_models import lasting, store
from support.row_functions import RowFunction, Stuck

ROW = {"x": np.ones((1, 4), np.float32)}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_DEAF_SECONDS", 0.1)
    monkeypatch.setattr(supervision, "_TELL_SECONDS", 0.05)


@pytest.fixture
def deaf() -> Iterator[Stuck]:
    stuck = Stuck(deaf=True, busy=True)
    yield stuck
    stuck.end.set()


def test_a_model_whose_runs_do_not_end_is_served_without_batches() -> None:
    trial = try_model(Stuck(deaf=False), ModelConfig(), seconds=0.2)
    assert not trial.batchable
    assert "a run of 1 row was stopped after 0." in trial.reason
    assert "the trial may take 0.2 s (TRIAL_SECONDS)" in trial.reason


def test_an_onnx_model_whose_loop_does_not_end_is_stopped(tmp_path: Path) -> None:
    from inferqueue_worker.served_model import load_model

    files = store(tmp_path, lasting(), config="sample: {x: [1000000000]}")
    trial = load_model(files, None, 1, trial_seconds=0.3).trial
    assert not trial.batchable
    assert "TRIAL_SECONDS" in trial.reason


@pytest.mark.usefixtures("impatient")
def test_a_run_that_is_deaf_ends_the_start(deaf: Stuck) -> None:
    with pytest.raises(ModelLoadError, match=r"a run of 1 row goes on after .* although it was told to stop"):
        try_model(deaf, ModelConfig(), seconds=0.1)


@pytest.mark.usefixtures("impatient")
def test_a_trial_that_takes_long_says_what_it_does(deaf: Stuck, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(ModelLoadError):
        try_model(deaf, ModelConfig(), seconds=0.3)
    (first, *_) = [record for record in caplog.records if record.message == "the model is being tried"]
    assert (first.__dict__["runs"], first.__dict__["rows"]) == (1, 1)


def test_a_row_on_which_the_model_hangs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferqueue_worker.trial._LEAST_LIMIT_SECONDS", 0.2)
    monkeypatch.setattr("inferqueue_worker.trial._TIMES_LONGER", 0)
    hanging = Stuck(deaf=False)

    class HangsAtZero(RowFunction):
        def predict(self, inputs, outputs, control):  # type: ignore[no-untyped-def]
            if (inputs["x"] == 0).all(axis=1).any():
                return hanging.predict(inputs, outputs, control)
            return super().predict(inputs, outputs, control)

    trial = try_model(HangsAtZero(lambda x: x * 2), ModelConfig())
    assert trial.batchable, trial.reason
    assert trial.rows is not None
    assert trial.rows.refused == 1


def test_no_run_begins_after_the_end() -> None:
    function = RowFunction(lambda x: x)
    runs = TrialRuns(function, ["y"], 0.0)
    with pytest.raises(TrialTimeoutError, match="the trial took longer than 0 s"):
        runs.run(ROW)
    assert function.rows == []


def test_what_the_work_raises_is_raised() -> None:
    def fail() -> Array:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        supervised(TrialRuns(RowFunction(lambda x: x), ["y"], 1), fail)


def test_a_slow_model_is_tried_to_its_end() -> None:
    def slow(x: Array) -> Array:
        time.sleep(0.05)
        return x

    assert try_model(RowFunction(slow), ModelConfig(), seconds=30).batchable
    assert not [thread for thread in threading.enumerate() if thread.name == "trial"]
