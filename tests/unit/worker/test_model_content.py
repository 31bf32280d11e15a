"""A model's files are whole or refused with the file's name, and once loaded they matter no more."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from inferqueue_worker import model_content
from inferqueue_worker.check import check, locate
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.external_data import MARK
from inferqueue_worker.model_content import check_whole, digest, loadable
from inferqueue_worker.predictor import RunControl
from inferqueue_worker.repository import find_model
from inferqueue_worker.served_model import ServedModel, load_model
from support import external_models as models
from support.onnx_models import doubling, store

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 16384\n"
Build = Callable[[float], ModelProto]


def served(path: Path) -> ServedModel:
    return load_model(locate(str(path), path.parent), None, 1)


def answer(model: ServedModel) -> set[float]:
    outputs: dict[str, Any] = model.predictor.predict({"x": np.zeros((1, 1), np.float32)}, ["y"], RunControl())
    return set(outputs["y"].ravel().tolist())


@pytest.mark.parametrize("build", [models.adding, models.branching, models.constant])
@pytest.mark.parametrize("limit", [0, 1 << 28], ids=["mapped", "read"])
def test_a_loaded_model_does_not_heed_what_happens_to_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Build, limit: int
) -> None:
    monkeypatch.setattr(model_content, "_MOST_READ", limit)
    path = models.put(tmp_path, build(1.0))
    model = served(path)
    weights = tmp_path / "weights.bin"
    weights.write_bytes(np.full(models.WEIGHTS, 2, np.float32).tobytes())
    assert answer(model) == {1.0}
    os.truncate(weights, 0)
    assert answer(model) == {1.0}


def test_tensors_too_large_to_be_copied_are_used_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_content, "_LARGEST_COPY", 1000)
    path = models.put(tmp_path, models.adding(1.0))
    assert loadable(path).in_place
    model = served(path)
    os.truncate(tmp_path / "weights.bin", 0)
    assert answer(model) == {1.0}


def plain(root: Path) -> Path:
    return models.put(root / "1", models.adding(1.0))


def kubernetes_volume(root: Path) -> Path:
    (root / "1").mkdir()
    models.as_volume(root / "1", ("..2026", models.adding(1.0)))
    return root / "1" / "model.onnx"


def hugging_face_cache(root: Path) -> Path:
    models.put(root / "saved", models.adding(1.0))
    snapshot, blobs = root / "snapshots" / "rev", root / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name, blob in (("model.onnx", "aaaa"), ("weights.bin", "bbbb")):
        (root / "saved" / name).rename(blobs / blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    (root / "1").symlink_to("snapshots/rev")
    return root / "1" / "model.onnx"


def shared_weights(root: Path) -> Path:
    path = models.put(root / "1", models.adding(1.0))
    (root / "1" / "weights.bin").rename(root / "pool.bin")
    (root / "1" / "weights.bin").symlink_to(root / "pool.bin")
    return path


def linked_graph(root: Path) -> Path:
    models.put(root / "export", models.adding(1.0))
    (root / "1").mkdir()
    (root / "1" / "model.onnx").symlink_to("../export/model.onnx")
    return root / "1" / "model.onnx"


@pytest.mark.parametrize("layout", [plain, kubernetes_volume, hugging_face_cache, shared_weights, linked_graph])
def test_links_are_followed_to_the_weights(tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    root = tmp_path / "m"
    root.mkdir()
    path = layout(root)
    assert answer(served(path)) == {1.0}
    assert check(str(path), tmp_path) == 0
    assert check(str(path.parent), tmp_path) == 0
    assert check("m", tmp_path) == 0
    assert find_model(tmp_path, "m").digest() == digest(plain(tmp_path / "other"))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def a_pointer(path: Path) -> None:
    path.write_text(POINTER)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_dead_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.bin")


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("weights.bin", cut, "weights.bin are cut short, 65536 of 131072 bytes. Copy them again"),
        ("weights.bin", emptied, "weights.bin are empty, 0 of 131072 bytes"),
        ("weights.bin", Path.unlink, "weights.bin are not there. The weights must lie beside the model file"),
        ("weights.bin", a_folder, "weights.bin are not there"),
        ("weights.bin", a_dead_link, "weights.bin are not there (it is a link to gone.bin)"),
        ("weights.bin", a_pointer, "weights.bin are a pointer of Git LFS, not the file itself. Run `git lfs pull`"),
        ("model.onnx", cut, "it is cut short"),
        ("model.onnx", emptied, "it is empty, 0 bytes"),
        ("model.onnx", a_pointer, "it is a pointer of Git LFS"),
        ("model.onnx", a_dead_link, "it is not there (it is a link to gone.bin)"),
    ],
)
def test_files_that_are_not_whole_are_refused(
    tmp_path: Path, file: str, damage: Callable[[Path], None], reason: str
) -> None:
    path = models.put(tmp_path, models.adding(1.0))
    damage(tmp_path / file)
    with pytest.raises(ModelLoadError, match=re.escape(reason)) as refusal:
        check_whole(path)
    assert str(refusal.value).startswith(f"cannot load {path}:")


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "..", "."])
def test_a_graph_can_name_nothing_outside_its_folder(tmp_path: Path, location: str) -> None:
    path = models.put(tmp_path / "1", models.adding(1.0))
    (tmp_path / "weights.bin").write_bytes(b"secret")
    graph = path.read_bytes()
    model = ModelProto.FromString(graph)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelLoadError, match="outside its folder"):
        served(path)


def test_weights_may_lie_in_a_folder_inside(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert answer(served(models.put(tmp_path, models.adding(3.0), location="data/weights.bin"))) == {3.0}


def test_a_digest_without_external_data_is_that_of_the_file(tmp_path: Path) -> None:
    path = store(tmp_path, doubling()).path
    assert digest(path) == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_digest_covers_the_weights(tmp_path: Path) -> None:
    path = models.put(tmp_path, models.adding(1.0))
    before = digest(path)
    weights = tmp_path / "weights.bin"
    lines = [(path, ""), (weights, "weights.bin")]
    text = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()} {name}\n" for file, name in lines)
    assert before == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    weights.write_bytes(bytes(weights.stat().st_size))
    assert digest(path) != before


def test_a_mark_is_found_where_pieces_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models.put(tmp_path, models.adding(1.0))
    for size in range(len(MARK), 40):
        monkeypatch.setattr(model_content, "_CHUNK", size)
        assert model_content._contains(path, MARK)
        assert not model_content._contains(path, b"no such mark")
