"""A model is loaded from files that hold still."""

import os
import threading
from pathlib import Path

import pytest

from inferqueue_worker import reloading
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.rehearsal import rehearse
from inferqueue_worker.reloading import load_settled
from inferqueue_worker.repository import ModelFiles, ModelSource
from inferqueue_worker.served_model import ServedModel, load_model
from support import external_models as models
from support.onnx_models import doubling, store, unary


@pytest.fixture(autouse=True)
def short_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that change hold still for a moment only before they are loaded again."""
    monkeypatch.setattr(reloading, "QUIET_SECONDS", 0.2)


def source(repository: Path) -> ModelSource:
    return ModelSource(repository, "m", "", custom=False)


def test_files_that_change_while_they_are_loaded_are_loaded_again(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    models.put(folder, models.adding(1))
    new = models.put(tmp_path / "new", models.adding(2)).parent
    digests: list[str] = []

    def load(files: ModelFiles) -> ServedModel:
        model = load_model(files, None, 1)
        if not digests:
            models.copy_over(new, folder)
        digests.append(model.digest)
        return model

    model, _ = load_settled(source(tmp_path), load, threading.Event())
    assert [model.digest] == digests[1:]
    assert digests[0] != digests[1]


def test_a_failure_while_files_change_is_no_failure(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    models.put(folder, models.adding(1))
    whole = (folder / "weights.bin").read_bytes()
    os.truncate(folder / "weights.bin", 100)
    failures: list[str] = []

    def load(files: ModelFiles) -> ServedModel:
        try:
            return load_model(files, None, 1)
        except ModelLoadError as error:
            failures.append(str(error))
            (folder / "weights.bin").write_bytes(whole)
            raise

    model, _ = load_settled(source(tmp_path), load, threading.Event())
    assert (model.files.version, len(failures)) == ("1", 1)


def test_files_that_hold_still_and_do_not_load_are_a_failure(tmp_path: Path) -> None:
    store(tmp_path, unary("Frobnicate"), "m")
    with pytest.raises(ModelLoadError, match="Frobnicate"):
        load_settled(source(tmp_path), lambda files: load_model(files, None, 1), threading.Event())


def test_a_rehearsal_tells_why_files_do_not_load(tmp_path: Path) -> None:
    files = store(tmp_path, unary("Frobnicate"), "m")
    with pytest.raises(ModelLoadError, match=r"cannot load .*Frobnicate"):
        rehearse(source(tmp_path), files, threading.Event())


def test_a_rehearsal_of_files_that_load_says_nothing(tmp_path: Path) -> None:
    models.put(tmp_path / "m" / "1", models.branching(1))
    rehearse(source(tmp_path), source(tmp_path).find(), threading.Event())


def test_a_rehearsal_ends_when_the_worker_does(tmp_path: Path) -> None:
    files = store(tmp_path, unary("Frobnicate"), "m")
    stop = threading.Event()
    stop.set()
    rehearse(source(tmp_path), files, stop)


def test_one_that_changes_and_loads_is_not_needed_after_a_stop(tmp_path: Path) -> None:
    store(tmp_path, doubling(), "m")
    stop = threading.Event()

    def load(files: ModelFiles) -> ServedModel:
        store(tmp_path, unary("Neg"), "m")
        stop.set()
        return load_model(files, None, 1)

    model, _ = load_settled(source(tmp_path), load, stop)
    assert model.files.name == "m"
