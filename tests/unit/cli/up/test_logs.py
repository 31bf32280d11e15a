"""Reading along in a program's log."""

from pathlib import Path

import pytest

from inferqueue.up import logs
from inferqueue.up.logs import LogFile, read_line


@pytest.mark.parametrize(
    ("text", "message", "is_loud"),
    [
        ('{"level": "INFO", "message": "ready"}', "ready", False),
        ('{"level": "warning", "message": "slow"}', "slow", True),
        ('{"level": "ERROR", "message": "no"}', "no", True),
        ("Traceback (most recent call last):", "Traceback (most recent call last):", False),
        ("3", "3", False),
        ("{}", "{}", False),
    ],
)
def test_reads_any_line(text: str, message: str, is_loud: bool) -> None:
    line = read_line(text)

    assert (line.message, line.is_loud) == (message, is_loud)


def test_a_reason_belongs_to_its_message() -> None:
    assert read_line('{"level": "WARNING", "message": "waiting for Redis", "reason": "no answer"}').text == (
        "waiting for Redis: no answer"
    )
    assert read_line('{"message": "ready"}').text == "ready"


def test_gives_each_whole_line_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "worker-1.log")
    with log.path.open("a") as program:
        program.write("one\ntw")
        program.flush()
        first = log.new_lines()
        program.write("o\n\xff\n")
        program.flush()
        second = log.new_lines()

    assert [line.message for line in first] == ["one"]
    assert [line.message for line in second] == ["two", "\xff"]
    assert log.new_lines() == []


def test_keeps_the_log_of_the_run_before(tmp_path: Path) -> None:
    (tmp_path / "proxy.log").write_text("before\n")

    log = LogFile(tmp_path / "proxy.log")

    assert log.path.read_text() == ""
    assert (tmp_path / "proxy.log.1").read_text() == "before\n"


def test_begins_anew_when_it_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LONGEST_LOG_BYTES", 10)
    log = LogFile(tmp_path / "redis.log")
    with log.path.open("ab", buffering=0) as program:
        program.write(b"0123456789abc\n")
        lines = log.new_lines()
        program.write(b"next\n")
        lines += log.new_lines()

    assert [line.message for line in lines] == ["0123456789abc", "next"]
    assert log.path.read_bytes() == b"next\n"


def test_the_tail_shows_messages_and_tracebacks(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "proxy.log")
    log.path.write_text('plain\n{"level": "ERROR", "message": "no", "exc_info": "Traceback\\nOSError: x"}\n')

    assert log.tail().split() == ["plain", "no", "Traceback", "OSError:", "x"]
