"""The worker: runners, a heartbeat beside them, and an orderly end."""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from inferqueue_core.errors import QueueOwnedError, QueueUnavailableError
from inferqueue_core.jobs import GiveBack, WorkerReport
from inferqueue_core.queue import JobQueue
from inferqueue_worker.activity import Activity
from inferqueue_worker.execution import BatchExecutor
from inferqueue_worker.heartbeat import Heartbeat
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.peers import Peers
from inferqueue_worker.results import ResultWriter
from inferqueue_worker.runner import ClaimBudget, Runner, Turns
from inferqueue_worker.sampling import SHARE, Batches
from inferqueue_worker.served_model import ServedModel
from inferqueue_worker.settings import WorkerSettings
from inferqueue_worker.strays import Strays

logger = logging.getLogger(__name__)

# The worker's last seconds: Kubernetes kills 5 s after the grace period.
_STOP_SECONDS = 2.0
_POLL_SECONDS = 0.05
# Far beyond the seconds for which calls to a Redis that is away can hold the heartbeat.
_STALLED_SECONDS = 60.0
# How long a run may take to notice that it was stopped.
_STUCK_SECONDS = 30.0


class Queues(Struct, frozen=True):
    """The same queue again and again: `prompt` for beats; one of `patient` for each runner, until `abandon` is set."""

    patient: Sequence[JobQueue]
    prompt: JobQueue
    abandon: threading.Event


class Worker:
    """Serves one model from one queue until `stop` is set."""

    def __init__(
        self,
        queues: Queues,
        settings: WorkerSettings,
        model: ServedModel,
        metrics: WorkerMetrics,
        stop: threading.Event,
    ) -> None:
        self._queues = queues
        self._settings = settings
        self._model = model
        self._stop = stop
        self._abandon = queues.abandon
        self._turns = Turns()
        self._held = HeldJobs()
        self._activity = Activity()
        self._started_ms = time.time_ns() // 1_000_000
        self._runner_count = len(queues.patient)
        self.metrics = metrics
        self.metrics.in_flight = lambda: len(self._held.all())
        self.info = model.info(settings.queue_name)
        self.metrics.model = {"model": self.info.name, "version": self.info.version, "digest": self.info.digest}
        name = settings.worker_name
        self._peers = Peers(name, self.info)
        self._strays = Strays(self.info, self._peers, metrics)
        self._heartbeat = Heartbeat(
            queues.prompt, settings.policy(), name, self.info, self._held, self._report, self._peers
        )
        self._pace = model.pace()
        self._batches = Batches(SHARE, self._publish_end_of_batches)
        self.metrics.batchable = lambda: self.info.batchable and self._batches.allowed
        self._runners = [self._runner(queue) for queue in queues.patient]
        self._threads: list[threading.Thread] = []
        self.ready_seconds = 0.0

    def join(self) -> None:
        """Take a place among the workers of the queue; raise QueueOwnedError when it is another model's.

        While Redis does not answer that is left to the heartbeat, and each claim asks again.
        """

        def beat() -> None:
            name, queue = self._settings.worker_name, self._settings.queue_name
            owner = self._queues.prompt.extend(name, self._report(), []).other_owner
            if owner is not None:
                raise QueueOwnedError(queue, owner, self.info.name)

        try:
            self._attempt(beat)
        except QueueOwnedError:
            raise
        except Exception as error:  # such as a key of ours that a stranger made something else
            logger.warning("cannot join the queue's workers", extra={"reason": str(error)})

    def publish(self) -> None:
        """Make the model known; while Redis takes no writes that is left to the heartbeat."""
        self._attempt(lambda: self._queues.prompt.publish_model(self.info))

    def start(self, *, until_empty: bool = False) -> None:
        """Begin to serve, until told to stop or, with `until_empty`, until nothing waits."""
        for number, runner in enumerate(self._runners):
            self._threads.append(_start(runner, number, until_empty))
        self._heartbeat.start()

    def wait(self) -> None:
        """Wait for the end of what was started; then give back what was not run.

        Raises QueueUnsuitableError when Redis turns out to be none that can hold the queue, QueueOwnedError when the
        queue has become another model's.
        """
        try:
            for thread in self._threads:
                while thread.is_alive() and not self._stop.wait(_POLL_SECONDS):
                    pass
            self._heartbeat.beat_soon()
            self._drain(self._threads)
        finally:
            self._heartbeat.stop()
        self._attempt(lambda: self._queues.prompt.forget_worker(self._settings.worker_name))
        for runner in self._runners:
            if runner.error is not None:
                raise runner.error

    def give_back_rest(self) -> None:
        """Hand back what a predictor that cannot be stopped still holds; its result will be refused."""
        rest = [GiveBack(job) for job in self._held.all()]
        if rest:
            logger.warning("the grace period is over: giving back what still runs", extra={"jobs": len(rest)})
            self._attempt(lambda: self._queues.prompt.retry(rest))

    def ailment(self) -> str | None:
        """Say what only a restart can mend; None while there is nothing. An outage of Redis is none."""
        now = time.monotonic()
        if now - self._heartbeat.turned_at > _STALLED_SECONDS:
            return f"the heartbeat has stalled for {now - self._heartbeat.turned_at:.0f} s"
        if self._held.is_stuck(now, _STUCK_SECONDS):
            timeout = self._settings.prediction_timeout
            return f"a run goes on more than {_STUCK_SECONDS:g} s after its timeout (PREDICTION_TIMEOUT={timeout:g} s)"
        return None

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do what can be left undone while Redis is away."""
        try:
            action()
        except QueueUnavailableError as error:
            logger.warning("cannot reach the queue", extra={"reason": str(error)})

    def _runner(self, queue: JobQueue) -> Runner:
        executor = BatchExecutor(
            self._model,
            ResultWriter(self.info, self._settings.max_result_bytes),
            self._held,
            self.metrics,
            self._settings.prediction_timeout,
            random.random,
            self._pace,
            self._batches,
        )
        budget = ClaimBudget(self._settings.max_batch_bytes, self._model.sharers(self._runner_count))
        return Runner(
            queue,
            self._settings.worker_name,
            self.info,
            executor,
            budget,
            self._held,
            self._activity,
            self.metrics,
            self._stop,
            self._turns,
            self._heartbeat.rest,
            self._peers,
            self._strays,
        )

    def _publish_end_of_batches(self) -> None:
        # Results keep their form, which clients know: this worker goes on with what it said at load.
        self._heartbeat.publish(replace(self.info, batchable=False, max_rows=1))

    def _report(self) -> WorkerReport:
        in_flight = len(self._held.all())
        return WorkerReport(
            model=self.info.name,
            version=self.info.version,
            image=self._settings.worker_image,
            in_flight=in_flight,
            held_seconds=self._activity.since_turn(time.monotonic()) if in_flight else 0.0,
            jobs=self._activity.jobs,
            rows=self._activity.rows,
            busy_seconds=self._activity.busy_seconds,
            runners=self._runner_count,
            ready_seconds=self.ready_seconds,
            started_at_ms=self._started_ms,
            signature=self.info.signature,
            stopping=self._stop.is_set(),
        )

    def _drain(self, runners: list[threading.Thread]) -> None:
        """Let current runs end within the grace period, then stop them: their jobs go back to the queue."""
        deadline = time.monotonic() + self._settings.grace_seconds
        while any(thread.is_alive() for thread in runners) and time.monotonic() < deadline:
            if not self._held.all():
                self._abandon.set()
            next(thread for thread in runners if thread.is_alive()).join(_POLL_SECONDS)
        self._peers.parting_over.set()
        self._held.stop_all()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in runners:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._abandon.set()
        self.give_back_rest()


def _start(runner: Runner, number: int, until_empty: bool) -> threading.Thread:
    thread = threading.Thread(
        target=runner.run, kwargs={"until_empty": until_empty}, name=f"runner-{number}", daemon=True
    )
    thread.start()
    return thread
