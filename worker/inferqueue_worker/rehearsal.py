"""Loading new files in a process of its own, while the worker still serves the old ones."""

import signal
import sys
import threading
import time

from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.repository import ModelFiles, ModelSource

_LIMIT_SECONDS = 600.0
_POLL_SECONDS = 0.05


def rehearse(source: ModelSource, files: ModelFiles, stop: threading.Event) -> None:
    """Raise ModelLoadError if these files do not load; return early when `stop` is set.

    The process maps weights beside the graph and optimises nothing, so that it needs little more memory than the graph.
    If it is killed all the same, most likely for want of memory, nothing is known: the start will tell.
    """
    import subprocess  # which a start does not need

    module = "inferqueue_worker.rehearsal_process"
    command = (sys.executable, "-m", module, str(source.repository), source.name, files.version)
    deadline = time.monotonic() + _LIMIT_SECONDS
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            if stop.wait(_POLL_SECONDS):
                process.kill()
                return
            if time.monotonic() > deadline:
                process.kill()
                raise ModelLoadError(f"cannot load {files.path}: a trial of it took longer than {_LIMIT_SECONDS:g} s")
        assert process.stdout is not None
        reason = process.stdout.read().strip()
    if process.returncode not in (0, -signal.SIGKILL):
        raise ModelLoadError(reason or f"cannot load {files.path}: a trial of it ended with {process.returncode}")
