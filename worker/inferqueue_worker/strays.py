"""Jobs in this worker's queue that are not its own: another model's, or another version's."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from inferqueue_core.jobs import ClaimedJob, Failed, JobTarget, SetAside
from inferqueue_core.models import ModelInfo
from inferqueue_core.queue import JobQueue
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.peers import PATIENCE_SECONDS, Peers

logger = logging.getLogger(__name__)

# What changes where a model is served is seen so soon; a warning is said once in so long.
_CATALOG_SECONDS = 5.0
_WARN_SECONDS = 60.0


class Strays:
    """Counts and logs the jobs that claims have set aside, and sends each to its model's queue where that is known."""

    def __init__(
        self, info: ModelInfo, peers: Peers, metrics: WorkerMetrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._info = info
        self._peers = peers
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._warned_at: dict[JobTarget, float] = {}
        self._models: Mapping[str, ModelInfo] = {}
        self._models_at = float("-inf")

    def note(self, jobs: Sequence[SetAside], queue: JobQueue) -> None:
        """Take in what a claim of `queue` has set aside."""
        self._peers.note(job.target for job in jobs)
        self._metrics.strays.add(len(jobs), "set_aside")
        by_target: dict[JobTarget, list[SetAside]] = defaultdict(list)
        for job in jobs:
            by_target[job.target].append(job)
        for target, found in by_target.items():
            self._warn(target, found)
            name = self._queue_of(target, queue)
            if name is not None:
                self._metrics.strays.add(queue.move(found, name), "moved")

    def _warn(self, target: JobTarget, found: Sequence[SetAside]) -> None:
        now = self._clock()
        with self._lock:
            if now - self._warned_at.get(target, float("-inf")) < _WARN_SECONDS:
                return
            self._warned_at = {known: at for known, at in self._warned_at.items() if now - at < _WARN_SECONDS}
            self._warned_at[target] = now
        logger.warning(
            "jobs that are not for this worker were set aside",
            extra={"job_id": found[0].id, "jobs": len(found), "model": target.model, "version": target.version},
        )

    def _queue_of(self, target: JobTarget, queue: JobQueue) -> str | None:
        """Name the other queue at which jobs for `target` are served; None when there is none, or they may be here."""
        if target.model == self._info.name and target.version not in self._peers.claimant.absent:
            return None
        with self._lock:
            if self._clock() - self._models_at > _CATALOG_SECONDS:
                self._models, self._models_at = queue.models(), self._clock()
            models = self._models
        exact = models.get(f"{target.model}/{target.version}")
        others = sorted((model for model in models.values() if model.name == target.model), key=_order)
        if target.model != self._info.name and not target.pinned and exact is None and others:
            exact = others[-1]
        return None if exact is None or exact.queue == self._info.queue else exact.queue


def _order(model: ModelInfo) -> tuple[int, str]:
    return model.version_order


def refuse_pinned(jobs: Sequence[ClaimedJob], info: ModelInfo) -> tuple[list[ClaimedJob], list[Failed]]:
    """Part jobs that ask for a version that has been given up from those that may run; the former fail."""
    runnable = [job for job in jobs if job.made_for is None or not job.made_for.pinned]
    return runnable, [
        Failed(job, _given_up(job.made_for, info)) for job in jobs if job.made_for and job.made_for.pinned
    ]


def name_versions(failed: Failed, info: ModelInfo) -> Failed:
    """Say in the error of a job whose data does not fit that it was made for another version, where it was."""
    made_for = failed.job.made_for
    if made_for is None:
        return failed
    return Failed(
        failed.job,
        f"it was made for version {made_for.version!r} of model {info.name!r}, which no worker serves any more, and "
        f"version {info.version!r} cannot take it: {failed.error}; send it again as that version's metadata says",
    )


def _given_up(target: JobTarget, info: ModelInfo) -> str:
    return (
        f"it asks for version {target.version!r} of model {info.name!r}, which no worker has served for "
        f"{PATIENCE_SECONDS:g} s, while version {info.version!r} is served; ask for that one or for none, or start a "
        f"worker with MODEL_VERSION={target.version}"
    )
