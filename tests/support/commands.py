"""Programs of others, run to their end: kubectl, helm, kind, docker."""

import subprocess
from collections.abc import Mapping


class CommandFailedError(AssertionError):
    """A program ended with something else than 0; `output` is what it said."""

    def __init__(self, command: tuple[str, ...], code: int, output: str) -> None:
        super().__init__(f"`{' '.join(command)}` ended with {code}:\n{output.strip()}")
        self.code = code
        self.output = output


def run(*command: str, stdin: str | None = None, timeout: float = 300, env: Mapping[str, str] | None = None) -> str:
    """Run a program and give what it writes to its standard output; raises CommandFailedError."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=env)
    if done.returncode != 0:
        raise CommandFailedError(command, done.returncode, done.stdout + done.stderr)
    return done.stdout
