"""The data directory and its lock."""

import os
import stat
from pathlib import Path

import pytest

from inferqueue.up.data_dir import DataDir, running_redis
from inferqueue.up.errors import StartError


def test_is_for_its_owner_alone_and_out_of_version_control(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "a" / "b")
    data_dir.take()

    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert (tmp_path / "a" / "b" / ".gitignore").read_text() == "*\n"
    data_dir.release()


def test_only_one_may_take_it(tmp_path: Path) -> None:
    first, second = DataDir(tmp_path), DataDir(tmp_path)
    first.take()
    first.note_redis("unix:///x")

    with pytest.raises(StartError, match=rf"\(process {os.getpid()}\) is already running on .*--data-dir"):
        second.take()
    second.release()

    assert running_redis(tmp_path) == "unix:///x"
    first.release()
    assert running_redis(tmp_path) is None
    second.take()
    second.release()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartError, match=r"file.*--data-dir"):
        DataDir(tmp_path / "file" / "data").take()


@pytest.mark.parametrize("length", [10, 150])
def test_the_socket_has_a_path_that_sockets_may_have(tmp_path: Path, length: int) -> None:
    data_dir = DataDir(tmp_path / ("x" * length))
    data_dir.take()
    path = data_dir.socket()

    assert len(os.fsencode(path)) <= 100
    assert path.parent.is_dir()
    assert data_dir.socket() == path
    data_dir.release()
    if length > 100:
        assert not path.parent.exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", "nothing"])
def test_notes_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "up.json").write_text(text)

    assert running_redis(tmp_path) is None
