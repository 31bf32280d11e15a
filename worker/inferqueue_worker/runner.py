"""One runner: claims what waits, runs it in batches, stores how it ended, and begins again."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from inferqueue_core.errors import QueueOwnedError, QueueUnavailableError, QueueUnsuitableError
from inferqueue_core.jobs import (
    Canceled,
    Claim,
    ClaimedJob,
    Completed,
    Ending,
    Failed,
    FinishOutcome,
    GiveBack,
    RanModel,
    Retry,
    RetryOutcome,
)
from inferqueue_core.models import ModelInfo
from inferqueue_core.queue import JobQueue
from inferqueue_core.retries import retry_delay
from inferqueue_worker.activity import Activity
from inferqueue_worker.batching import Batch, pack
from inferqueue_worker.decoding import decode_jobs
from inferqueue_worker.execution import BatchExecutor, Verdict
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.peers import LINGER_SECONDS, Peers
from inferqueue_worker.settling import PORTION_BYTES, finish, size_of
from inferqueue_worker.strays import Strays, name_versions, refuse_pinned

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
# Between two looks for what only this worker can run, when it was told to stop.
DRAIN_SECONDS = 0.1
# Between two looks whether others have nothing to do, while jobs of a claim have not begun.
SHARE_SECONDS = 0.5
# Endings of fast runs are sent together, but none waits longer than this.
FLUSH_SECONDS = 0.02


class ClaimBudget(Struct, frozen=True):
    """How much a runner takes at once: about `max_bytes` of data, and its share among `sharers` runners."""

    max_bytes: int
    sharers: int


class Turns(Struct, frozen=True):
    """What only one runner of a worker does at a time: wait for work, and run jobs that have failed before."""

    waiting: threading.Lock = field(default_factory=threading.Lock)
    suspects: threading.Lock = field(default_factory=threading.Lock)


class Runner:
    """A loop for one thread; several share the queue, the model and their turns.

    A job that was claimed before may be the one that killed its worker, so it is claimed and run alone: what it does
    then costs no other job an attempt. `rest` is called when nothing waits and the whole worker holds nothing.
    """

    def __init__(
        self,
        queue: JobQueue,
        worker: str,
        model: ModelInfo,
        executor: BatchExecutor,
        budget: ClaimBudget,
        held: HeldJobs,
        activity: Activity,
        metrics: WorkerMetrics,
        stop: threading.Event,
        turns: Turns,
        rest: Callable[[], None],
        peers: Peers,
        strays: Strays,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._model = model
        self._executor = executor
        self._budget = budget
        self._held = held
        self._activity = activity
        self._metrics = metrics
        self._stop = stop
        self._turns = turns
        self._rest = rest
        self._peers = peers
        self._strays = strays
        self._ran = RanModel(model.name, model.version, model.digest)
        self._drains = False
        self.error: QueueUnsuitableError | QueueOwnedError | None = None

    def run(self, *, until_empty: bool = False) -> None:
        """Work until `stop` is set or, with `until_empty`, until nothing waits; `error` says why it ended otherwise."""
        while not self._stop.is_set():
            try:
                claim = self._claim(self._executor.pace.jobs)
                if claim.jobs:
                    self._take(claim.jobs)
                elif claim.set_aside:
                    continue
                elif until_empty:
                    return
                elif claim.retired:
                    self._stop.wait(WAIT_SECONDS)
                else:
                    self._wait()
            except QueueUnavailableError as error:
                # A full Redis, or one that did not come back before the worker was told to stop.
                logger.warning("cannot reach the queue", extra={"reason": str(error)})
                self._stop.wait(WAIT_SECONDS)
            except (QueueUnsuitableError, QueueOwnedError) as error:
                self.error = error
                return
            except Exception:  # a runner that died would leave a worker that lives and does nothing
                logger.exception("a claim could not be processed")
                self._stop.wait(WAIT_SECONDS)

        self._drain()

    def _claim(self, limit: int) -> Claim:
        budget, claimant = self._budget, self._peers.claimant
        claim = self._queue.claim(self._worker, limit, budget.max_bytes, budget.sharers, claimant)
        if claim.set_aside:
            self._strays.note(claim.set_aside, self._queue)
        return claim

    def _drain(self) -> None:
        """Run what no other worker can, where the model's version changes: until nothing of it waits or comes."""
        ends_at = time.monotonic() + LINGER_SECONDS
        try:
            owed = self._peers.owed(self._queue)
            self._drains = owed != "nothing"
            while self._drains and not self._peers.parting_over.is_set():
                claim = self._queue.drain(
                    *(self._worker, self._executor.pace.jobs, self._budget.max_bytes, self._peers.claimant),
                    pinned_only=owed == "pinned",
                )
                if claim.jobs:
                    self._process(claim.jobs)
                elif not claim.more_below and (owed == "pinned" or time.monotonic() >= ends_at):
                    return
                else:
                    self._peers.parting_over.wait(DRAIN_SECONDS)
        except (QueueUnavailableError, QueueUnsuitableError, QueueOwnedError) as error:
            logger.warning("cannot look for jobs that only this version can run", extra={"reason": str(error)})
        except Exception:
            logger.exception("a claim could not be processed")

    def _wait(self) -> None:
        if not self._held.all():
            self._rest()
        with self._turns.waiting:
            if not self._stop.is_set():
                self._queue.wait(WAIT_SECONDS)

    def _take(self, jobs: Sequence[ClaimedJob]) -> None:
        """Run fresh jobs together; when there are suspects among them, give those back and then run them one by one."""
        suspects = [job for job in jobs if job.attempt > 1]
        if not suspects:
            self._process(jobs)
            return
        self._queue.retry([GiveBack(job) for job in suspects])
        fresh = [job for job in jobs if job.attempt == 1]
        if fresh:
            self._process(fresh)
        self._process_suspects()

    def _process_suspects(self) -> None:
        with self._turns.suspects:
            suspicious = True
            while suspicious and not self._stop.is_set():
                jobs = self._claim(1).jobs
                suspicious = any(job.attempt > 1 for job in jobs)
                if jobs:
                    self._process(jobs)

    def _process(self, jobs: Sequence[ClaimedJob]) -> None:
        start = time.monotonic()
        self._activity.begin(start)
        self._held.add(jobs)
        try:
            self._run_jobs(jobs)
        except (QueueUnavailableError, QueueUnsuitableError):
            raise
        except Exception as error:
            self._try_again_later(jobs, error)
            raise
        finally:
            self._held.drop(jobs)
            now = time.monotonic()
            self._activity.end(len(jobs), start, now)
            self._executor.batches.worked(now - start)

    def _try_again_later(self, jobs: Sequence[ClaimedJob], error: Exception) -> None:
        """Give back what a failure of ours left unsettled, as one attempt each, instead of waiting for the lease."""
        reason = f"the worker failed: {type(error).__name__}"
        held = set(self._held.all())
        left = [Retry(job, retry_delay(job.attempt, random.random()), reason) for job in jobs if job in held]
        if left:
            self._queue.retry(left)

    def _run_jobs(self, jobs: Sequence[ClaimedJob]) -> None:
        start = time.perf_counter()
        runnable, refused = refuse_pinned(jobs, self._model)
        decoded, failed = decode_jobs(runnable, self._model)
        self._metrics.phase_seconds.add(time.perf_counter() - start, "decode")
        batchable = self._model.batchable and self._executor.batches.allowed
        verdicts: list[Verdict] = [*refused, *(name_versions(failure, self._model) for failure in failed)]
        # Jobs of more rows than a run takes may take long, so they come last: no other job of the claim waits for them.
        batches = sorted(pack(decoded, self._model.max_rows, batchable=batchable), key=self._is_large)
        flushed = looked = time.monotonic()
        for number, batch in enumerate(batches):
            if number and time.monotonic() - looked > SHARE_SECONDS:
                looked = time.monotonic()
                if self._others_are_idle():
                    verdicts += [GiveBack(job.job) for left in batches[number:] for job in left]
                    break
            if verdicts and self._is_large(batch):
                self._settle(verdicts)
                verdicts = []
            verdicts += self._run_batch(batch)
            if time.monotonic() - flushed > FLUSH_SECONDS or sum(map(size_of, verdicts)) > PORTION_BYTES:
                self._settle(verdicts)
                verdicts, flushed = [], time.monotonic()
        self._settle(verdicts)
        if decoded:
            self._executor.pace.claimed(len(decoded), sum(job.rows for job in decoded))

    def _others_are_idle(self) -> bool:
        """Whether another runner, of this worker or of another one, could begin at once what this one holds."""
        if self._drains:
            return False
        return self._turns.waiting.locked() or self._peers.are_idle(self._queue)

    def _is_large(self, batch: Batch) -> bool:
        return self._model.batchable and batch[0].rows > self._model.max_rows

    def _run_batch(self, batch: Batch) -> list[Verdict]:
        if self._stop.is_set() and not self._drains:
            return [GiveBack(job.job) for job in batch]
        self._activity.add_rows(sum(job.rows for job in batch))
        return self._executor.run(batch)

    def _settle(self, verdicts: Sequence[Verdict]) -> None:
        endings = [verdict for verdict in verdicts if isinstance(verdict, (Completed, Failed, Canceled))]
        retries = [verdict for verdict in verdicts if isinstance(verdict, (Retry, GiveBack))]
        if endings:
            self._count_endings(finish(lambda portion: self._queue.finish(portion, self._ran), endings))
        if retries:
            for retry, answer in zip(retries, self._queue.retry(retries), strict=True):
                self._count_retry(retry, answer)
        self._held.drop(verdict.job for verdict in verdicts)

    def _count_endings(self, endings: Sequence[tuple[Ending, FinishOutcome]]) -> None:
        counts: Counter[str] = Counter()
        for ending, outcome in endings:
            if outcome is FinishOutcome.STALE:
                self._metrics.stale.add(1)
                logger.warning("result refused: the job belongs to another attempt", extra={"job_id": ending.job.id})
                continue
            if isinstance(ending, Failed):
                # Its error is for the client: it may quote the data.
                logger.info("job failed", extra={"job_id": ending.job.id})
            counts[type(ending).__name__] += 1
        for name, count in counts.items():
            self._metrics.jobs.add(count, name.lower())

    def _count_retry(self, retry: Retry | GiveBack, answer: RetryOutcome) -> None:
        if isinstance(retry, GiveBack):
            self._metrics.jobs.add(1, "given_back")
            return
        extra = {"job_id": retry.job.id, "attempt": retry.job.attempt, "error": retry.error, "outcome": answer.value}
        logger.warning(
            "job will be tried again" if answer is RetryOutcome.WAITING else "job is not retried", extra=extra
        )
        self._metrics.jobs.add(1, "dead" if answer is RetryOutcome.DEAD else "retried")
