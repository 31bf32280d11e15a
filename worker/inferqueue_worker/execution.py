"""Running a batch: jobs in, endings out. A batch that fails is halved until the culprit stands alone."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from inferqueue_core.datatypes import Array
from inferqueue_core.jobs import Canceled, ClaimedJob, Completed, Ending, Failed, GiveBack, LeaseState, Retry
from inferqueue_core.retries import retry_delay
from inferqueue_worker.batching import Batch, DecodedJob, check_rows, join, slices, stack
from inferqueue_worker.errors import BadInputError, BatchingError, PredictionError, RunStoppedError, TransientError
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.predictor import Output, RunControl
from inferqueue_worker.results import Result, ResultWriter
from inferqueue_worker.served_model import ServedModel

logger = logging.getLogger(__name__)

Verdict = Ending | Retry | GiveBack


class BatchExecutor(Struct, frozen=True):
    """Runs batches of one model; `timeout` is the seconds that one run may take, `random` draws the retries' jitter."""

    model: ServedModel
    writer: ResultWriter
    held: HeldJobs
    metrics: WorkerMetrics
    timeout: float
    random: Callable[[], float]

    def run(self, batch: Batch) -> list[Verdict]:
        """Run a batch and give how each of its jobs ends, leaving out those that are no longer this worker's."""
        wanted, verdicts = self._sort_out(batch)
        if not wanted:
            return verdicts
        try:
            outputs = self._predict(wanted)
            start = time.perf_counter()
            results = self.writer.write(wanted, outputs)
            self.metrics.phase_seconds.add(time.perf_counter() - start, "encode")
        except Exception as error:  # whatever a predictor raises must end its own job alone, never the worker
            return verdicts + self._after_failure(wanted, error)
        pairs = zip(wanted, results, strict=True)
        if self.held.all_wanted:
            return verdicts + [_ending(job.job, result) for job, result in pairs]
        return verdicts + [self._wanted_ending(job.job, result) for job, result in pairs]

    def _wanted_ending(self, job: ClaimedJob, result: Result) -> Ending:
        # Asked for while the job ran beside others, whose run was not to be stopped.
        canceled = self.held.state(job) is LeaseState.CANCEL_REQUESTED
        return Canceled(job) if canceled else _ending(job, result)

    def _sort_out(self, batch: Batch) -> tuple[Batch, list[Verdict]]:
        if self.held.all_wanted:
            return batch, []
        states = [self.held.state(job.job) for job in batch]
        wanted = tuple(job for job, state in zip(batch, states, strict=True) if state is LeaseState.HELD)
        canceled: list[Verdict] = [
            Canceled(job.job) for job, state in zip(batch, states, strict=True) if state is LeaseState.CANCEL_REQUESTED
        ]
        return wanted, canceled

    def _predict(self, batch: Batch) -> dict[str, Output]:
        inputs, rows = join(batch), sum(job.rows for job in batch)
        batchable, max_rows = self.model.trial.batchable, self.model.trial.max_rows
        pieces = list(slices(inputs, max_rows)) if batchable and rows > max_rows else [inputs]
        outputs = []
        for piece in pieces:
            start = time.perf_counter()
            with self.held.run((job.job for job in batch), time.monotonic() + self.timeout) as control:
                outputs.append(self._predict_once(piece, batch[0].outputs, control))
            self.metrics.phase_seconds.add(time.perf_counter() - start, "run")
        self.metrics.batch_rows.add(rows)
        stacked = stack(outputs)
        if batchable:
            check_rows(stacked, rows)
        return stacked

    def _predict_once(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl
    ) -> dict[str, Output]:
        try:
            return self.model.predictor.predict(inputs, outputs, control)
        except Exception as error:
            if control.reason == "timeout":
                raise TransientError(f"it ran longer than {self.timeout:g} s (PREDICTION_TIMEOUT)") from error
            if control.reason is not None:
                raise RunStoppedError(control.reason) from error
            raise

    def _after_failure(self, batch: Batch, error: Exception) -> list[Verdict]:
        if len(batch) == 1:
            return [self._verdict(batch[0], error)]
        if isinstance(error, RunStoppedError) and str(error) == "shutdown":
            return [GiveBack(job.job) for job in batch]
        self.metrics.fallbacks.add(1, type(error).__name__)
        logger.warning("batch failed, running its halves", extra={"jobs": len(batch), "reason": str(error)})
        middle = len(batch) // 2
        return self.run(batch[:middle]) + self.run(batch[middle:])

    def _verdict(self, decoded: DecodedJob, error: Exception) -> Verdict:
        job = decoded.job
        match error:
            case RunStoppedError() if str(error) == "shutdown":
                return GiveBack(job)
            case RunStoppedError():
                return Canceled(job)
            case TransientError() | MemoryError():
                message = str(error) or "not enough memory for this run"
                return Retry(job, retry_delay(job.attempt, self.random()), message)
            case BadInputError() | BatchingError() | PredictionError():
                return Failed(job, str(error))
        logger.error("the predictor raised", extra={"job_id": job.id}, exc_info=error)
        return Failed(job, f"the model failed: {type(error).__name__}: {error}")


def _ending(job: ClaimedJob, result: Result) -> Ending:
    return Completed(job, result) if isinstance(result, bytes) else Failed(job, str(result))
