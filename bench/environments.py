"""Virtual environments for the programs of others, so that nobody's dependencies decide over ours."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from programs import BENCH, BenchError

_FOLDER = BENCH / ".venvs"
_INSTALL_SECONDS = 300


def python_with(peer: str) -> Path:
    """Give the Python that has `peer` from `peers/{peer}.txt`, installing it once; raise BenchError when that fails."""
    lock = BENCH / "peers" / f"{peer}.txt"
    folder = _FOLDER / peer
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        _run(peer, [sys.executable, "-m", "venv", str(folder)])
        _run(peer, [str(python), "-m", "pip", "install", "--no-deps", "--require-hashes", "-r", str(lock)])
        stamp.write_text(digest)
    return python


def _run(peer: str, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{peer} could not be installed within {_INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise BenchError(f"{peer} could not be installed: {lines[-1] if lines else 'no reason given'}")
