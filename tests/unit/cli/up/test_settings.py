"""What `inferqueue up` takes from flags and environment."""

from argparse import Namespace
from pathlib import Path

import pytest

from inferqueue.up.settings import UpSettings, foreign_redis
from inferqueue_core.settings import SettingsError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS", "MODEL_REPOSITORY", "MODEL_NAME", "PORT", "WORKERS"):
        monkeypatch.delenv(name, raising=False)


def model(folder: Path, name: str) -> Path:
    (folder / name / "1").mkdir(parents=True)
    return folder


def test_the_models_of_this_folder_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outside = UpSettings().repository()
    model(tmp_path / "models", "iris")

    assert outside.name == "models"
    assert (outside / "iris").is_dir()
    assert UpSettings().repository() == tmp_path / "models"


def test_a_missing_model_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    model(tmp_path, "cats")

    with pytest.raises(SettingsError, match=r"no model 'iris' in .*it holds cats.*--model-repository"):
        UpSettings.checked(model_repository=tmp_path)
    with pytest.raises(SettingsError, match="no such folder"):
        UpSettings.checked(model_repository=tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "value"), [("REDIS_URL", "redis://a/1"), ("REDIS_HOST", "a")])
def test_the_environment_may_name_a_redis(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert foreign_redis(Namespace(redis_url=None)) is None

    monkeypatch.setenv(name, value)
    found = foreign_redis(Namespace(redis_url=None))

    assert found is not None
    assert found.url.startswith("redis://a")


def test_the_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://a")

    found = foreign_redis(Namespace(redis_url="redis://b"))

    assert found is not None
    assert found.url == "redis://b"


def test_a_port_alone_names_no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PORT", "tcp://10.0.0.1:6379")  # what Kubernetes sets beside a Service named redis

    assert foreign_redis(Namespace(redis_url=None)) is None


def test_a_wrong_queue_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="QUEUE_NAME"):
        UpSettings.checked(model_repository=model(tmp_path, "iris"), queue_name="a b")
