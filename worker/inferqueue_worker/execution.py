"""Running a batch: jobs in, endings out. A batch that fails is halved until the culprit stands alone."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from inferqueue_core.datatypes import Array
from inferqueue_core.jobs import Canceled, ClaimedJob, Completed, Ending, Failed, GiveBack, LeaseState, Retry
from inferqueue_core.retries import retry_delay
from inferqueue_worker.batching import Batch, DecodedJob, check_rows, join, slices, stack
from inferqueue_worker.errors import BadInputError, BatchingError, PredictionError, RunStoppedError, TransientError
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.pace import Pace
from inferqueue_worker.predictor import Output, RunControl
from inferqueue_worker.results import Result, ResultWriter
from inferqueue_worker.sampling import Batches, find_mismatch, shapes_of
from inferqueue_worker.served_model import ServedModel

logger = logging.getLogger(__name__)

Verdict = Ending | Retry | GiveBack


class BatchExecutor(Struct, frozen=True):
    """Runs batches of one model; `timeout` is the seconds that one run may take, `random` draws the retries' jitter.

    `pace` learns how long runs take; `batches` says whether jobs may still run together.
    """

    model: ServedModel
    writer: ResultWriter
    held: HeldJobs
    metrics: WorkerMetrics
    timeout: float
    random: Callable[[], float]
    pace: Pace
    batches: Batches = field(default_factory=Batches)

    def run(self, batch: Batch) -> list[Verdict]:
        """Run a batch and give how each of its jobs ends, leaving out those that are no longer this worker's."""
        wanted, verdicts = self._sort_out(batch)
        if not wanted:
            return verdicts
        if len(wanted) > 1 and not self.batches.allowed:
            return verdicts + self._run_alone(wanted)
        try:
            start = time.perf_counter()
            outputs = self._predict(wanted)
            seconds = time.perf_counter() - start
            if self._is_joined(wanted) and not self._stands_check(wanted, outputs, seconds):
                return verdicts + self._run_alone(wanted)
            start = time.perf_counter()
            results = self._write(wanted, outputs)
            self.metrics.phase_seconds.add(time.perf_counter() - start, "encode")
        except Exception as error:  # whatever a predictor raises must end its own job alone, never the worker
            return verdicts + self._after_failure(wanted, error)
        pairs = zip(wanted, results, strict=True)
        if self.held.all_wanted:
            return verdicts + [_ending(job.job, result) for job, result in pairs]
        return verdicts + [self._wanted_ending(job.job, result) for job, result in pairs]

    def _run_alone(self, batch: Batch) -> list[Verdict]:
        return [verdict for job in batch for verdict in self.run((job,))]

    def _write(self, batch: Batch, outputs: Mapping[str, Output]) -> list[Result]:
        if not self._is_joined(batch) and self.model.trial.batchable:
            try:
                check_rows(outputs, batch[0].rows, self.model.signature.constant_outputs)
            except BatchingError as error:
                # What this job got alone is right, whole as it is; but jobs that shared a run could not be parted.
                self._end_batches(str(error), {"rows": batch[0].rows, "shapes": shapes_of(batch[0].inputs)})
                whole = replace(self.model.info(""), batchable=False)
                return ResultWriter(whole, self.writer.max_bytes).write(batch, outputs)
        return self.writer.write(batch, outputs)

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

    def _is_joined(self, batch: Batch) -> bool:
        """Whether a run of this batch holds other rows than one job's, or not all of them."""
        return len(batch) > 1 or self._is_cut(batch)

    def _is_cut(self, batch: Batch) -> bool:
        trial = self.model.trial
        return trial.batchable and self.batches.allowed and sum(job.rows for job in batch) > trial.max_rows

    def _predict(self, batch: Batch) -> dict[str, Output]:
        inputs, rows = join(batch), sum(job.rows for job in batch)
        constants = self.model.signature.constant_outputs
        most = self.model.trial.max_rows if self._is_cut(batch) else rows
        pieces = slices(inputs, most) if most < rows else [inputs]
        outputs = []
        for number, piece in enumerate(pieces):
            start = time.perf_counter()
            outputs.append(self._predict_supervised(batch, piece))
            took = time.perf_counter() - start
            self.metrics.phase_seconds.add(took, "run")
            self.pace.ran(min(most, rows - number * most), took)
        self.metrics.batch_rows.add(rows)
        stacked = stack(outputs, constants)
        if self._is_joined(batch):
            check_rows(stacked, rows, constants)
        return stacked

    def _stands_check(self, batch: Batch, outputs: Mapping[str, Output], seconds: float) -> bool:
        """Run the jobs of a batch alone as well, if it is time to; False ends batches, as some job got something else.

        `seconds` is what the batch took. What keeps the check from its end does not matter to the jobs: they have their
        answers.
        """
        timings = self.model.trial.timings
        if not self.batches.begin_check(max(seconds, len(batch) * timings[0].seconds if timings else 0.0)):
            return True
        start, mismatch = time.monotonic(), None
        try:
            mismatch = find_mismatch(
                lambda job, inputs: self._predict_supervised((job,), inputs),
                batch,
                outputs,
                self.model.signature.constant_outputs,
                self.model.trial.max_rows,
            )
            self.metrics.checked_batches.add(1)
        except Exception as error:
            logger.info("a batch could not be checked", extra={"reason": f"{type(error).__name__}: {error}"})
        finally:
            took = time.monotonic() - start
            self.batches.end_check(took)
            self.metrics.phase_seconds.add(took, "check")
        if mismatch is None:
            return True
        self._end_batches(mismatch.reason, to_builtins(mismatch))
        return False

    def _end_batches(self, reason: str, extra: Mapping[str, object]) -> None:
        if self.batches.end():
            self.metrics.row_mismatches.add(1)
            files = self.model.files
            logger.error(
                "rows of the model depend on each other: each job runs alone from now on",
                extra={**extra, "reason": reason, "model": files.name, "version": files.version},
            )

    def _predict_supervised(self, batch: Batch, inputs: Mapping[str, Array]) -> dict[str, Output]:
        with self.held.run((job.job for job in batch), time.monotonic() + self.timeout) as control:
            return self._predict_once(inputs, batch[0].outputs, control)

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
        if isinstance(error, BatchingError) and self._is_joined(batch):
            self._end_batches(str(error), {"rows": [job.rows for job in batch], "shapes": shapes_of(batch[0].inputs)})
            return self._run_alone(batch)
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
