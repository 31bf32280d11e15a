"""The log of a program: a file that the program writes and `up` reads along."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST_LOG_BYTES = 20 * 1024 * 1024
_LOUD = ("WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: its message, and all its fields when it is JSON."""

    message: str
    level: str
    fields: dict[str, Any]

    @property
    def is_loud(self) -> bool:
        return self.level in _LOUD

    @property
    def text(self) -> str:
        """The message, with the reason that some lines give in a field of its own."""
        reason = self.fields.get("error") or self.fields.get("reason")
        return f"{self.message}: {reason}" if reason else self.message


def read_line(text: str) -> LogLine:
    """Read a line of a log; one that is not JSON is a message without a level."""
    try:
        fields = json.loads(text)
        return LogLine(str(fields["message"]), str(fields.get("level", "")).upper(), fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return LogLine(text, "", {})


class LogFile:
    """A log of this run; that of the run before is kept beside it as `<name>.1`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        if path.exists():
            path.replace(path.with_name(f"{path.name}.1"))
        path.touch(mode=0o600)

    def new_lines(self) -> list[LogLine]:
        """Return the whole lines that came since the last call."""
        if self.path.stat().st_size == self._offset:
            return []
        with self.path.open("r+b") as file:
            file.seek(self._offset)
            text = file.read()
            whole = text.rfind(b"\n") + 1
            self._offset += whole
            if self._offset > LONGEST_LOG_BYTES:  # the program appends, so it goes on at the new end
                file.truncate(0)
                self._offset = 0
        return [read_line(line) for line in text[:whole].decode(errors="replace").splitlines() if line]

    def tail(self, lines: int = 12) -> str:
        """Return the last messages, for a person who wants to know what went wrong."""
        shown: list[str] = []
        for text in self.path.read_text(errors="replace").splitlines()[-lines:]:
            line = read_line(text)
            shown += [line.message, *str(line.fields.get("exc_info") or "").splitlines()[-lines:]]
        return "\n".join(f"    {text}" for text in shown)
