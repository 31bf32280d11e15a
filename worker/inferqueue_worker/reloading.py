"""New files for a model: load it from files that hold still, watch them, and start the program again on others."""

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from inferqueue_worker.errors import ModelLoadError, WorkerError
from inferqueue_worker.listening import hand_over
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.rehearsal import rehearse
from inferqueue_worker.repository import ModelFiles, ModelSource
from inferqueue_worker.served_model import ServedModel
from inferqueue_worker.watching import QUIET_SECONDS, Sight, Watch, loaded, named_files, sight

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_END_SECONDS = 1.0


def load_settled(
    source: ModelSource, load: Callable[[ModelFiles], ServedModel], stop: threading.Event
) -> tuple[ServedModel, Sight]:
    """Load a model from files that do not change meanwhile, and return how they looked; raise ModelLoadError.

    What is read from files that change may be half of one model and half of another: it is loaded again when they have
    been quiet for a while, however often that happens.
    """
    while True:
        files = source.find()
        seen = sight(source, named_files(files))
        try:
            model = load(files)
        except ModelLoadError:
            if _unchanged(source, files, seen) or stop.is_set():
                raise
        else:
            if _unchanged(source, files, seen) or stop.is_set():
                return model, seen
        logger.warning("the model's files changed while they were loaded: they are loaded again")
        _await_quiet(source, stop)


def _unchanged(source: ModelSource, files: ModelFiles, seen: Sight) -> bool:
    try:
        # model.yaml may have changed between being read and being looked at.
        return sight(source, named_files(files)) == seen and source.find() == files
    except ModelLoadError:
        return False


def _await_quiet(source: ModelSource, stop: threading.Event) -> None:
    seen, since = None, time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS and not stop.wait(_LOOK_SECONDS / 4):
        try:
            now = sight(source, named_files(source.find()))
        except ModelLoadError:
            now = None
        if now != seen:
            seen, since = now, time.monotonic()


class Reloader:
    """Ends a worker's work by setting `halt`: after `stop`, or when its model has new files; then `due` is set.

    `ready`, which probes are told, is cleared when the work ends for new files.
    """

    def __init__(self, stop: threading.Event, halt: threading.Event, ready: threading.Event) -> None:
        self._stop = stop
        self._halt = halt
        self._ready = ready
        self._end = threading.Event()
        self._watching: threading.Thread | None = None
        self.due = False

    def start(self, source: ModelSource, model: ServedModel, seen: Sight, metrics: WorkerMetrics) -> None:
        """Watch the files from which a model was loaded that looked so."""
        served = loaded(model.files, model.digest)
        watch = Watch(source, served, seen, metrics, lambda files: rehearse(source, files, self._end))
        threading.Thread(target=self._pass_on, name="stop", daemon=True).start()
        self._watching = threading.Thread(target=self._watch, args=(watch,), name="watch", daemon=True)
        self._watching.start()

    def end(self) -> None:
        """End the watch; a look at files that do not answer is left behind."""
        self._end.set()
        if self._watching is not None:
            self._watching.join(_END_SECONDS)

    def _pass_on(self) -> None:
        self._stop.wait()
        self._end.set()
        self._halt.set()

    def _watch(self, watch: Watch) -> None:
        while not self._end.wait(_LOOK_SECONDS):
            try:
                self.due = watch.look(time.monotonic())
            except Exception:  # the worker serves on; it only does not notice new files now
                logger.exception("cannot look at the model's files")
            if self.due:
                logger.info("the model has new files: the worker finishes what it holds and starts again on them")
                self._ready.clear()
                self._halt.set()
                return


def restart(listener: socket.socket) -> NoReturn:
    """Become the same program again, in the same process: to a supervisor, no process has ended."""
    os.environ.update(hand_over(listener))
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError as error:
        raise WorkerError(f"cannot start {sys.executable} again: {error.strerror}") from error
