"""Watching a model's files, so that a worker notices new ones, and judges them before it gives up those it serves."""

import logging
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.model_content import check_whole, external_files
from inferqueue_worker.repository import CONFIG_FILE, ModelFiles, ModelSource
from inferqueue_worker.stamps import Stamp, stamps

logger = logging.getLogger(__name__)

# Copies take their time, and write at least once a second while they do.
QUIET_SECONDS = 2.0

Rehearse = Callable[[ModelFiles], None]


class Loaded(Struct, frozen=True):
    """What a model is loaded from; where two are equal, loading it again would change nothing."""

    files: ModelFiles
    digest: str
    libraries: dict[Path, Stamp]


def loaded(files: ModelFiles, digest: str) -> Loaded:
    """Describe a model of these files and this digest."""
    return Loaded(files, digest, stamps(files.custom_op_libraries))


class Sight(Struct, frozen=True):
    """What a look at the files tells without reading them: where the graph lies, and the stamps of all."""

    path: Path | None
    stamps: dict[Path, Stamp]


def sight(source: ModelSource, more: frozenset[Path]) -> Sight:
    """Look at the graph, model.yaml, and the files that they name (`more`)."""
    try:
        path = source.path()
    except ModelLoadError:
        path = None
    config = source.repository / source.name / CONFIG_FILE
    return Sight(path, stamps([config, *([path] if path else []), *sorted(more)]))


def named_files(files: ModelFiles) -> frozenset[Path]:
    """Return the files that a model's graph and its model.yaml name."""
    return frozenset((*external_files(files.path), *files.custom_op_libraries))


class Watch:
    """Tells when the files that a worker serves have been replaced by others that can be served.

    A state of the files is judged once, when it has lasted for QUIET_SECONDS: they must be whole, and `rehearse` must
    load them. As long as they cannot be served, the log says so once and the metric `model_stale` is set.
    """

    def __init__(
        self, source: ModelSource, served: Loaded, seen: Sight, metrics: WorkerMetrics, rehearse: Rehearse
    ) -> None:
        self._source = source
        self._served = served
        self._metrics = metrics
        self._rehearse = rehearse
        self._named = named_files(served.files)
        self._judged = self._seen = seen
        self._since = 0.0
        self._complaint = ""

    def look(self, now: float) -> bool:
        """Look at the files at this second; return whether a reload is due."""
        seen = sight(self._source, self._named)
        if seen != self._seen:
            self._seen, self._since = seen, now
            return False
        if seen == self._judged or now - self._since < QUIET_SECONDS:
            return False
        try:
            files = self._source.find()
            if (named := named_files(files)) != self._named:
                self._named = named  # and these have to be quiet as well
                return False
            good = self._judge(files)
        except (ModelLoadError, OSError) as error:
            self._complain(str(error))
            good = False
        self._judged = seen
        # What has changed while it was judged is judged again.
        return good and sight(self._source, self._named) == seen

    def _judge(self, files: ModelFiles) -> bool:
        """Return whether the files can be served and are others; raise ModelLoadError or OSError if they cannot."""
        if not self._source.custom:
            check_whole(files.path)
        if loaded(files, files.digest()) == self._served:
            self._settle()
            return False
        if not self._source.custom:
            self._rehearse(files)
        return True

    def _complain(self, complaint: str) -> None:
        self._metrics.model_stale = True
        if complaint != self._complaint:
            logger.error(
                "the model's new files cannot be served; the worker goes on with those it has loaded",
                extra={"reason": complaint, "digest": self._served.digest},
            )
        self._complaint = complaint

    def _settle(self) -> None:
        if self._metrics.model_stale:
            logger.info("the model's files are those that are served again")
        self._metrics.model_stale = False
        self._complaint = ""
