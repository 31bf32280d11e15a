"""`inferqueue up` and the other commands as processes."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from inferqueue.main import main
from support.waiting import wait_until

ROOT = Path(__file__).parents[3]
CLEAN = (
    *("REDIS_", "QUEUE_", "API_KEYS", "MODEL_", "JOB_TTL", "LEASE_", "PORT", "HOST", "METRICS_", "WORKERS", "DATA_DIR"),
    *("INFERQUEUE_", "KEY_PREFIX"),
)


def environment(**settings: str) -> dict[str, str]:
    """Give this process's environment without settings of ours, and with these."""
    return {name: value for name, value in os.environ.items() if not name.startswith(CLEAN)} | settings


def run_command(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `inferqueue` with these arguments to its end."""
    return subprocess.run(
        [sys.executable, "-m", "inferqueue", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**settings),
        check=False,
    )


class Up:
    """An `inferqueue up` on a free port, in a process group of its own, on the data directory `data_dir`."""

    def __init__(self, data_dir: Path, *arguments: str, program: str = "inferqueue", **settings: str) -> None:
        self.data_dir = data_dir
        self._command = [sys.executable, "-m", program, "up", "--port", "0", "--data-dir", str(data_dir), *arguments]
        self._environment = environment(**settings)
        self._output = tempfile.NamedTemporaryFile(prefix="iq-up-", suffix=".log")  # noqa: SIM115 - closed by close()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        return Path(self._output.name).read_text()

    @property
    def url(self) -> str:
        found = re.search(r" at (http://127\.0\.0\.1:\d+)$", self.output, re.MULTILINE)
        return found[1] if found else ""

    def launch(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdout=self._output, stderr=self._output, env=self._environment, cwd=ROOT, process_group=0
        )
        return self

    def start(self) -> Self:
        self.launch()
        wait_until(self._serves, timeout=60, what="address of `inferqueue up`")
        return self

    def _serves(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"`inferqueue up` ended at once:\n{self.output}")
        return "Ctrl-C stops" in self.output

    def children(self, *words: str) -> list[int]:
        """Give the processes that it has started, those whose command line holds all of `words`."""
        assert self.process is not None
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and parent_of(int(entry.name)) == self.process.pid:
                command = entry.joinpath("cmdline").read_bytes().decode().split("\0")
                if all(any(word in part for part in command) for word in words):
                    found.append(int(entry.name))
        return sorted(found)

    def log(self, name: str) -> list[dict[str, Any]]:
        """Give the JSON lines that one of its programs has logged."""
        text = (self.data_dir / "logs" / f"{name}.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """Press Ctrl-C and give the exit code."""
        assert self.process is not None
        self.send(signal.SIGINT)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            children = self.children()
            self.process.kill()
            self.process.wait()
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            wait_until(lambda: not any(map(is_running, children)), what="end of the children")
        self._output.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stat_of(process_id: int) -> list[str]:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def parent_of(process_id: int) -> int | None:
    stat = stat_of(process_id)
    return int(stat[1]) if stat else None


def is_running(process_id: int) -> bool:
    """Tell whether a process still does anything; a zombie does not."""
    stat = stat_of(process_id)
    return bool(stat) and stat[0] != "Z"


@pytest.fixture
def make_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Make `inferqueue up`s, all on one data directory, and end them afterwards."""
    made: list[Up] = []

    def make(*arguments: str, program: str = "inferqueue", **settings: str) -> Up:
        made.append(Up(tmp_path / "data", *arguments, program=program, **settings))
        return made[-1]

    yield make
    for up in made:
        up.close()


@pytest.fixture(scope="session")
def shared_up() -> Iterator[Up]:
    """An `inferqueue up` that many tests use; they may kill its children, not itself."""
    with tempfile.TemporaryDirectory(prefix="iq-") as folder, Up(Path(folder) / "data", LEASE_SECONDS="1") as up:
        yield up


@pytest.fixture
def inferqueue_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as a process."""
    return run_command


@pytest.fixture
def inferqueue(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in this process, which is quicker."""

    def run(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        for name in os.environ.keys() - environment():
            monkeypatch.delenv(name)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            main(arguments)
        code = end.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture
def still_running() -> Callable[[int], bool]:
    return is_running
