import asyncio
import itertools
from pathlib import Path

import pytest

from inferqueue_proxy import auth
from inferqueue_proxy.auth import ApiKeys


def test_off_unless_set() -> None:
    assert not ApiKeys(None, None).required


def test_set_but_empty_lets_nobody_in() -> None:
    keys = ApiKeys(" , ", None)
    assert keys.required
    assert keys.admit("") is None


def test_keys_of_the_setting_and_of_the_file_open(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# whose key this is\nfiled\n\n")
    keys = ApiKeys("one, two", file)
    names = {keys.admit(key) for key in ("one", "two", "filed")}
    assert len(names) == 3
    assert None not in names
    assert keys.admit("# whose key this is") is None


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old\n")
    keys = ApiKeys(None, file)
    file.write_text("newer\n")
    keys.reread()
    assert keys.admit("old") is None
    assert keys.admit("newer")


def test_a_file_that_is_missing_at_first_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="keys"):
        ApiKeys(None, tmp_path / "keys")


def test_a_file_that_goes_is_missed_once_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth, "REREAD_SECONDS", 0)
    file = tmp_path / "keys"
    file.write_text("key\n")
    keys = ApiKeys(None, file)
    reads = itertools.count(1)
    read = keys.reread

    def reread() -> None:
        number = next(reads)
        if number in (3, 9):
            file.unlink()
        elif number == 6:
            file.write_text("key\n")
        elif number == 12:
            raise RuntimeError("this is enough")
        read()

    monkeypatch.setattr(keys, "reread", reread)
    with pytest.raises(RuntimeError, match="enough"):
        asyncio.run(keys.run())
    assert [record.message for record in caplog.records] == [
        "API_KEYS_FILE cannot be read; the keys stay as they are"
    ] * 2
    assert keys.admit("key") is not None


def test_a_key_may_be_any_text_as_utf_8() -> None:
    as_header = "schlüssel".encode().decode("latin-1")  # what Starlette makes of the header's bytes
    assert ApiKeys("schlüssel", None).admit(as_header)


def test_a_file_need_not_be_text(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"\xff\xfe\nkey\n")
    assert ApiKeys(None, file).admit("key")
