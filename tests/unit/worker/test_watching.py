"""New files are noticed, judged once when they hold still, and taken only if they can be served."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.repository import ModelFiles, ModelSource
from inferqueue_worker.watching import QUIET_SECONDS, Watch, loaded, named_files, sight
from support import external_models as models
from support.onnx_models import doubling, store, unary
from support.waiting import wait_until


class Watched:
    """A watch over the model `m` of a repository, with a clock that the test turns."""

    def __init__(self, repository: Path, *, version: str = "", custom: bool = False) -> None:
        self.metrics = WorkerMetrics()
        self.rehearsed: list[str] = []
        self.refusal = ""
        source = ModelSource(repository, "m", version, custom)
        files = source.find()
        seen = sight(source, named_files(files))
        self.watch = Watch(source, loaded(files, files.digest()), seen, self.metrics, self._rehearse)
        self.now = 0.0

    def _rehearse(self, files: ModelFiles) -> None:
        self.rehearsed.append(files.version)
        if self.refusal:
            raise ModelLoadError(self.refusal)

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.watch.look(self.now)

    def settles(self) -> bool:
        """Tell whether a reload is due when the files have been left alone for long."""
        return any(self.after(QUIET_SECONDS) for _ in range(6))


def changed(path: Path) -> None:
    """Write other bytes of the same size and time over a file, at another time of the file system's clock."""
    before = path.stat()
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))

    def with_the_old_time() -> bool:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return path.stat().st_ctime_ns != before.st_ctime_ns

    wait_until(with_the_old_time)


def test_files_that_nobody_touches_are_left_alone(tmp_path: Path) -> None:
    store(tmp_path, doubling(), "m")
    watched = Watched(tmp_path)
    assert not watched.settles()
    assert watched.rehearsed == []


def weights(folder: Path) -> None:
    changed(folder / "1" / "weights.bin")


def weights_behind_a_link(folder: Path) -> None:
    (folder / "1" / "weights.bin").rename(folder / "pool.bin")
    (folder / "1" / "weights.bin").symlink_to("../pool.bin")
    changed(folder / "pool.bin")


def graph(folder: Path) -> None:
    store(folder.parent, unary("Neg"), "m")


def configuration(folder: Path) -> None:
    (folder / "model.yaml").write_text("max_rows: 3")


def another_version(folder: Path) -> None:
    models.put(folder / "2", models.adding(2))


def weights_elsewhere(folder: Path) -> None:
    models.put(folder / "1", models.adding(2), location="others.bin")


@pytest.mark.parametrize(
    "change", [weights, weights_behind_a_link, graph, configuration, another_version, weights_elsewhere]
)
def test_new_files_are_due_when_they_have_been_quiet(tmp_path: Path, change: Callable[[Path], None]) -> None:
    models.put(tmp_path / "m" / "1", models.adding(1))
    watched = Watched(tmp_path)
    change(tmp_path / "m")
    assert not watched.after(1)
    assert not watched.after(QUIET_SECONDS / 2)
    assert watched.settles()


def test_files_that_still_change_are_not_judged(tmp_path: Path) -> None:
    models.put(tmp_path / "m" / "1", models.adding(1))
    watched = Watched(tmp_path)
    for size in range(1000, 5000, 1000):
        os.truncate(tmp_path / "m" / "1" / "weights.bin", size)
        assert not watched.after(QUIET_SECONDS * 0.9)
    assert (watched.rehearsed, watched.metrics.model_stale) == ([], False)


def test_new_weights_of_a_new_graph_must_be_quiet_as_well(tmp_path: Path) -> None:
    models.put(tmp_path / "m" / "1", models.adding(1))
    watched = Watched(tmp_path)
    weights_elsewhere(tmp_path / "m")
    watched.after(1)
    watched.after(QUIET_SECONDS)
    assert watched.rehearsed == []
    changed(tmp_path / "m" / "1" / "others.bin")
    assert not watched.after(QUIET_SECONDS)
    assert watched.after(QUIET_SECONDS)


def test_the_same_bytes_anew_are_no_new_files(tmp_path: Path) -> None:
    path = models.put(tmp_path / "m" / "1", models.adding(1))
    watched = Watched(tmp_path)
    (tmp_path / "copy").write_bytes(path.read_bytes())
    (tmp_path / "copy").rename(path)
    (path.parent / "weights.bin").touch()
    assert not watched.settles()
    assert watched.rehearsed == []


def test_a_version_that_was_asked_for_stays(tmp_path: Path) -> None:
    models.put(tmp_path / "m" / "1", models.adding(1))
    watched = Watched(tmp_path, version="1")
    another_version(tmp_path / "m")
    assert not watched.settles()


def test_what_cannot_be_served_is_said_once_for_each_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "m" / "1"
    models.put(folder, models.adding(1))
    whole = (folder / "weights.bin").read_bytes()
    watched = Watched(tmp_path)
    os.truncate(folder / "weights.bin", 1000)
    assert not watched.settles()
    assert watched.metrics.model_stale
    (folder / "weights.bin").touch()
    assert not watched.settles()
    (folder / "weights.bin").unlink()
    assert not watched.settles()
    reasons = [str(getattr(record, "reason", "")) for record in caplog.records]
    assert ["cut short" in reasons[0], "not there" in reasons[1], len(reasons)] == [True, True, 2]
    (folder / "weights.bin").write_bytes(whole)
    assert not watched.settles()
    assert not watched.metrics.model_stale


def test_files_that_do_not_load_are_tried_once(tmp_path: Path) -> None:
    store(tmp_path, doubling(), "m")
    watched = Watched(tmp_path)
    watched.refusal = "no such operator"
    graph(tmp_path / "m")
    assert not watched.settles()
    assert (watched.rehearsed, watched.metrics.model_stale) == (["1"], True)


def test_a_model_that_is_taken_away_goes_on_being_served(tmp_path: Path) -> None:
    files = store(tmp_path, doubling(), "m")
    watched = Watched(tmp_path)
    files.path.unlink()
    assert not watched.settles()
    assert watched.metrics.model_stale


def test_files_of_a_custom_predictor_are_not_loaded_to_try_them(tmp_path: Path) -> None:
    store(tmp_path, b"weights of its own kind", "m")
    watched = Watched(tmp_path, custom=True)
    store(tmp_path, b"other weights", "m")
    assert watched.settles()
    assert watched.rehearsed == []


def test_a_library_of_operators_is_watched(tmp_path: Path) -> None:
    store(tmp_path, doubling(), "m", config="custom_ops: operators.so")
    (tmp_path / "m" / "operators.so").write_bytes(b"old library")
    watched = Watched(tmp_path)
    changed(tmp_path / "m" / "operators.so")
    assert watched.settles()
