"""The worker's heartbeat: reports, longer leases, cancellations, runs past their time, its peers, and the reaper."""

import logging
import random
import threading
import time
from collections.abc import Callable

from inferqueue_core.errors import QueueError
from inferqueue_core.jobs import WorkerReport
from inferqueue_core.models import ModelInfo
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import JobQueue
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.peers import Peers

logger = logging.getLogger(__name__)

_REPUBLISH_SECONDS = 30.0


class Heartbeat:
    """A thread beside the runners, so that a run of the model, however long, never looks like death.

    It beats at least every lease/3 and once a second. `queue` should not be patient: a beat that fails is followed by
    the next one, and runs must end in time while Redis is away. `turned_at` is when the thread last went round
    (monotonic seconds), whether or not Redis answered.
    """

    def __init__(
        self,
        queue: JobQueue,
        policy: QueuePolicy,
        worker: str,
        model: ModelInfo,
        held: HeldJobs,
        report: Callable[[], WorkerReport],
        peers: Peers,
    ) -> None:
        self._queue = queue
        self._policy = policy
        self._worker = worker
        self._model = model
        self._held = held
        self._report = report
        self._peers = peers
        self._owns_queue = True
        self._is_due = False
        self._interval = min(1.0, policy.lease / 3)
        self._end = threading.Event()
        self._alarm = threading.Event()
        self._told_busy = self._idle = False
        self._publishes = False
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)
        self._working = True
        self.turned_at = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its current beat."""
        self._end.set()
        self._alarm.set()
        self._thread.join()

    def rest(self) -> None:
        """Beat at once, and wake the autoscaler, when the last beat told of jobs: there is nothing more to do.

        Between two regular beats this happens once at most, however often the queue runs empty.
        """
        if self._told_busy:
            self._told_busy, self._idle = False, True
            self._alarm.set()

    def publish(self, model: ModelInfo) -> None:
        """Make this known of the model from now on, and at once."""
        self._model, self._publishes = model, True
        self._alarm.set()

    def beat_soon(self) -> None:
        """Beat out of turn, because what the worker reports has changed."""
        self._is_due = True
        self._alarm.set()

    def _loop(self) -> None:
        beat_at = reap_at = publish_at = 0.0
        while not self._end.is_set():
            now = self.turned_at = time.monotonic()
            deadline = self._held.stop_overdue(now)
            if now >= beat_at or self._idle or self._is_due:
                beat_at, self._is_due = now + self._interval, False
                self._try(self._beat)
                self._try(lambda: self._peers.look(self._queue))
            if now >= reap_at:
                reap_at = now + self._policy.reap_interval * random.uniform(0.8, 1.2)
                self._try(self._queue.reap)
            if (now >= publish_at or self._publishes) and self._owns_queue:
                self._publishes, publish_at = False, now + _REPUBLISH_SECONDS
                self._try(lambda: self._queue.publish_model(self._model))
            upcoming = min(beat_at, reap_at, deadline or beat_at)
            self._alarm.wait(max(0.005, upcoming - time.monotonic()))
            self._alarm.clear()

    def _beat(self) -> None:
        jobs = self._held.all()
        idle, self._idle = self._idle and not jobs, False
        self._told_busy = bool(jobs)
        heartbeat = self._queue.extend(self._worker, self._report(), jobs, idle=idle)
        self._held.note(jobs, heartbeat.leases)
        # The queue of another model: the next claim says so and ends the worker.
        self._owns_queue = heartbeat.other_owner is None
        if heartbeat.was_nobodys:
            self._publishes = True

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # without this thread every lease would lapse and no run would be stopped
            if self._working:
                logger.warning(
                    "heartbeat failed", extra={"reason": str(error)}, exc_info=not isinstance(error, QueueError)
                )
            self._working = False
        else:
            if not self._working:
                logger.info("heartbeat works again")
            self._working = True
