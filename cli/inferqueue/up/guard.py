"""The guard: a small process that ends all others when `inferqueue up` itself is killed."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("guard_process.py")


class Guard:
    """Knows which process groups run; `lock` is a descriptor that it keeps open, so that the data stays taken."""

    def __init__(self, lock: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock,),
            process_group=0,
        )

    def watch(self, group: int, stage: int) -> None:
        """End this process group if need be; groups of a lower stage end first."""
        self._tell(f"+ {group} {stage}\n")

    def forget(self, group: int, stage: int) -> None:
        """Leave this process group alone: it has ended."""
        self._tell(f"- {group} {stage}\n")

    def close(self) -> None:
        """Let the guard go; it ends what it still watches."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError:  # somebody killed the guard: `up` still ends its children itself
            return
