"""Models are found on disk, and what is wrong there is said in one sentence."""

import re
from pathlib import Path

import pytest

from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.repository import find_model, model_folder, read_config


def put(repository: Path, version: str, name: str = "iris") -> Path:
    path = repository / name / version / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"model")
    return path


def test_the_highest_version_by_number_is_served(tmp_path: Path) -> None:
    for version in ("2", "10", "9"):
        put(tmp_path, version)
    assert find_model(tmp_path, "iris").version == "10"


def test_a_version_may_be_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "1")
    path = put(tmp_path, "2")
    files = find_model(tmp_path, "iris", "2")
    assert (files.version, files.path) == ("2", path)


def test_a_version_keeps_its_spelling(tmp_path: Path) -> None:
    path = put(tmp_path, "007")
    assert find_model(tmp_path, "iris").path == path


def test_folders_that_are_no_versions_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "1")
    put(tmp_path, "²")
    put(tmp_path, "draft")
    assert find_model(tmp_path, "iris").version == "1"


def test_an_unknown_model_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    put(tmp_path, "1", "rose")
    with pytest.raises(ModelLoadError, match=r"no model 'iris' in .*; it holds rose\. Set MODEL_NAME"):
        find_model(tmp_path, "iris")


def test_a_model_without_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "iris").mkdir()
    with pytest.raises(ModelLoadError, match=re.escape(str(Path("iris") / "1" / "model.onnx"))):
        find_model(tmp_path, "iris")


def test_an_unknown_version_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    put(tmp_path, "1")
    with pytest.raises(ModelLoadError, match="has no version 3; it has 1"):
        find_model(tmp_path, "iris", "3")


def test_a_digest_is_that_of_the_file(tmp_path: Path) -> None:
    put(tmp_path, "1")
    digest = "sha256:9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    assert find_model(tmp_path, "iris").digest() == digest


def test_the_folder_of_a_custom_predictor_needs_no_file(tmp_path: Path) -> None:
    assert model_folder(tmp_path, "iris", "1").digest() == ""


def configured(folder: Path, text: str | bytes) -> Path:
    path = folder / "model.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_without_model_yaml_the_defaults_hold(tmp_path: Path) -> None:
    config = read_config(tmp_path / "model.yaml")
    assert (config.classes, config.finite, config.max_rows, config.batchable) == ((), False, None, True)


def test_an_empty_model_yaml_is_that_of_the_defaults(tmp_path: Path) -> None:
    assert read_config(configured(tmp_path, "")).classes == ()


def test_model_yaml_is_read(tmp_path: Path) -> None:
    config = read_config(configured(tmp_path, "classes: [a, b]\nfinite: true\nmax_rows: 8\n"))
    assert (config.classes, config.finite, config.max_rows) == (("a", "b"), True, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clases: [a]", "unknown field `clases`; known fields are classes"),
        ("max_rows: 0", "Expected `int` >= 1 in `max_rows`"),
        ("classes: [0, 1]", "Expected `str`, got `int` in `classes[0]`"),
        ("batchable: perhaps", "Expected `bool`, got `str` in `batchable`"),
        ("graph_optimization: most", "`graph_optimization` (one of disabled, basic, extended, layout, all)"),
        ("- a", "expected fields such as `classes: [a, b]`, found a list"),
        ("1: 2", "names of fields are texts, found 1"),
        ("classes: [", "cannot read"),
        (b"\xff\xfe\xfa", "cannot read"),
    ],
)
def test_a_wrong_model_yaml_is_refused_with_the_field(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ModelLoadError, match=re.escape(message)):
        read_config(configured(tmp_path, text))
