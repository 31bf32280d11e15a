"""A trial under a time limit: a run that takes too long is stopped, and one that cannot be stopped ends the start."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from msgspec import Struct, field

from inferqueue_core.datatypes import Array
from inferqueue_worker.errors import ModelLoadError, PredictionError, TrialTimeoutError
from inferqueue_worker.predictor import Output, Predictor, RunControl

logger = logging.getLogger(__name__)

# How long a run may take to notice that it was stopped.
_DEAF_SECONDS = 5.0
_TELL_SECONDS = 5.0
_POLL_SECONDS = 0.1

T = TypeVar("T")


class _Started(Struct):
    rows: int
    began: float
    until: float
    control: RunControl = field(default_factory=RunControl)

    @property
    def size(self) -> str:
        return "1 row" if self.rows == 1 else f"{self.rows} rows"


class TrialRuns:
    """Runs of a trial, one at a time, all of which end by `until` (monotonic seconds).

    `limit` may be lowered: no later run then takes longer than so many seconds for each of its rows.
    """

    def __init__(self, predictor: Predictor, outputs: Sequence[str], seconds: float) -> None:
        self._predictor = predictor
        self._outputs = outputs
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self.limit = seconds
        self.current: _Started | None = None
        self.count = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Output]:
        """Run the model; raise a PredictionError when it fails, a TrialTimeoutError when it was stopped."""
        now = time.monotonic()
        if now >= self._until:
            raise TrialTimeoutError(f"the trial took longer than {self._seconds:g} s (TRIAL_SECONDS)")
        rows = _rows(inputs)
        run = self.current = _Started(rows, now, min(self._until, now + rows * self.limit))
        self.count += 1
        try:
            outputs = self._predictor.predict(inputs, self._outputs, run.control)
        except Exception as error:  # a predictor of the user's own may raise anything
            if run.control.reason is not None:
                raise self._timeout(run) from error
            if isinstance(error, PredictionError):
                raise
            raise PredictionError(f"{type(error).__name__}: {error}") from error
        finally:
            self.current = None
        if run.control.reason is not None:
            raise self._timeout(run)
        return outputs

    def _timeout(self, run: _Started) -> TrialTimeoutError:
        took = time.monotonic() - run.began
        limit = f"the trial may take {self._seconds:g} s (TRIAL_SECONDS)"
        return TrialTimeoutError(f"a run of {run.size} was stopped after {took:.1f} s; {limit}")


class _Outcome(Struct, Generic[T]):
    value: T | None = None
    error: BaseException | None = None


def supervised(runs: TrialRuns, work: Callable[[], T]) -> T:
    """Do the work of a trial in a thread, and stop its runs when their time is over.

    Raises ModelLoadError when a run goes on nevertheless: its thread is lost then.
    """
    outcome: _Outcome[T] = _Outcome()

    def do() -> None:
        try:
            outcome.value = work()
        except BaseException as error:
            outcome.error = error

    thread = threading.Thread(target=do, name="trial", daemon=True)
    thread.start()
    tell_at = time.monotonic() + _TELL_SECONDS
    while True:
        thread.join(_POLL_SECONDS)
        if not thread.is_alive():
            break
        now = time.monotonic()
        _stop_overdue(runs.current, now)
        if now >= tell_at:
            tell_at = now + _TELL_SECONDS
            _tell(runs, now)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value  # type: ignore[return-value]  # T may be None itself


def _stop_overdue(run: _Started | None, now: float) -> None:
    if run is None or now < run.until:
        return
    run.control.stop("timeout")
    if now > run.until + _DEAF_SECONDS:
        raise ModelLoadError(
            f"the trial of the model does not end: a run of {run.size} goes on after {now - run.began:.0f} s, although "
            "it was told to stop; let the predictor heed `control.on_stop`, or give a `sample` that it can run in "
            "model.yaml"
        )


def _tell(runs: TrialRuns, now: float) -> None:
    run = runs.current
    extra: dict[str, object] = {"runs": runs.count}
    if run is not None:
        extra |= {"rows": run.rows, "seconds": round(now - run.began, 1)}
    logger.info("the model is being tried", extra=extra)


def _rows(inputs: Mapping[str, Array]) -> int:
    first = next(iter(inputs.values()), None)
    return 1 if first is None or np.ndim(first) == 0 else len(first)
