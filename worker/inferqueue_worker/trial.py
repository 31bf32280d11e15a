"""What a model is found to be when it is tried at load: whether its rows are independent, and how fast it is."""

import time
from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from inferqueue_worker.errors import PredictionError, TrialTimeoutError
from inferqueue_worker.graph import why_fixed
from inferqueue_worker.predictor import ModelSignature, Output, Predictor
from inferqueue_worker.repository import ModelConfig
from inferqueue_worker.row_trial import CONFIRMING, PROVING, RowTrial, RowTrier
from inferqueue_worker.samples import MOST_VALUES, Sample, Samples, repeated, samples
from inferqueue_worker.supervision import TrialRuns, supervised
from inferqueue_worker.timing import Timing, best_rows, measure, most_rows

MOST_ROWS = 1024
TRIAL_SECONDS = 20.0
# A made-up row that takes so much longer than the first one is left out: some loops end for few values.
_LEAST_LIMIT_SECONDS = 2.0
_TIMES_LONGER = 10

Clock = Callable[[], float]
Decider = Literal["signature", "graph", "trial"]


class Trial(Struct, frozen=True):
    """The findings: `batchable` with its reason, the timings by rows, and `max_rows`, the most rows worth a run.

    `decider` is what the reason comes from; `rows` is what was tried, None when it did not come to that.
    """

    batchable: bool
    reason: str
    timings: tuple[Timing, ...]
    max_rows: int
    decider: Decider = "trial"
    rows: RowTrial | None = None

    @property
    def seconds_per_row(self) -> float | None:
        """The time a row takes at the best size; None when the model could not be tried."""
        return min((timing.seconds / timing.rows for timing in self.timings), default=None)


class Decision(Struct, frozen=True):
    """Whether rows may run together, why, and what it was that decided."""

    batchable: bool
    reason: str
    decider: Decider


def decide(signature: ModelSignature, trial: RowTrial | None) -> Decision | None:
    """Decide whether rows may run together; None when only a trial can tell, and there was none yet.

    What the signature or the graph rules out needs no trial. What the graph has proven, the trial must confirm; what it
    leaves open, the trial decides, and the samples that are taken while the model serves.
    """
    why_not = why_signature_rules_out(signature)
    if why_not:
        return Decision(False, why_not, "signature")
    reading = signature.reading
    if reading is not None and reading.verdict == "mixed":
        return Decision(False, reading.reason, "graph")
    if signature.doubt and not is_proven(signature):
        return Decision(False, signature.doubt, "signature")
    if trial is None:
        return None
    if trial.reason:
        return Decision(False, trial.reason, "trial")
    found = "rows run together give what they give alone"
    if is_proven(signature):
        return Decision(True, f"the graph keeps rows apart, and {found}", "graph")
    if reading is not None:
        found = f"{found}; the graph leaves it open: {reading.reason}"
    return Decision(True, found, "trial")


def is_proven(signature: ModelSignature) -> bool:
    """Tell whether the graph was read, and keeps rows apart."""
    return signature.reading is not None and signature.reading.verdict == "apart"


def why_signature_rules_out(signature: ModelSignature) -> str:
    """Say what in the signature rules batches out, whatever the graph does; '' when nothing does."""
    if signature.batchable is False:
        return signature.why_not or "its predictor says so"
    if not signature.inputs:
        return "it has no inputs"
    for spec in signature.inputs:
        if spec.any_shape:
            return f"the model gives input {spec.name!r} no shape"
        if not spec.shape:
            return f"input {spec.name!r} is a scalar"
        if spec.shape[0] != -1:
            return why_fixed(spec.name, spec.shape[0])
    if all(spec.name in signature.constant_outputs for spec in signature.outputs):
        return "no output depends on its inputs"
    return ""


def try_model(
    predictor: Predictor,
    config: ModelConfig,
    clock: Clock = time.perf_counter,
    seconds: float = TRIAL_SECONDS,
) -> Trial:
    """Run the model on samples: find one that it takes, prove or refute that it batches, learn how many rows pay.

    Raises ModelLoadError when the given sample does not fit, or when a run cannot be stopped after `seconds`.
    """
    signature = _as_configured(predictor.metadata(), config)
    runs = TrialRuns(predictor, [spec.name for spec in signature.outputs], seconds)
    return supervised(runs, lambda: _try(runs, signature, config, clock))


def _as_configured(signature: ModelSignature, config: ModelConfig) -> ModelSignature:
    if config.batchable:
        return signature
    return replace(signature, batchable=False, why_not="model.yaml says batchable: false")


def _try(runs: TrialRuns, signature: ModelSignature, config: ModelConfig, clock: Clock) -> Trial:
    refusal = f"one row would hold more than {MOST_VALUES} values"
    made_up = "the sample in model.yaml does not fit it" if config.sample is not None else "no made-up input fits it"
    for sample in samples(signature, config.sample):
        start = clock()
        try:
            first = runs.run(sample.first)
        except TrialTimeoutError as error:
            # Longer inputs would take longer still.
            made_up, refusal = "it could not be tried", str(error)
            break
        except PredictionError as error:
            refusal = str(error)
            continue
        runs.limit = max(_LEAST_LIMIT_SECONDS, _TIMES_LONGER * (clock() - start))
        return _try_rows(runs, signature, config, sample, first, clock)
    reason = f"{made_up} ({refusal}); give a `sample` that does in model.yaml"
    decision = decide(signature, None) or Decision(False, reason, "trial")
    return Trial(False, decision.reason, (), 1, decision.decider)


def _try_rows(
    runs: TrialRuns,
    signature: ModelSignature,
    config: ModelConfig,
    sample: Samples,
    first: dict[str, Output],
    clock: Clock,
) -> Trial:
    tried, decision = None, decide(signature, None)
    if decision is None:
        effort = CONFIRMING if is_proven(signature) else PROVING
        trier = RowTrier(runs.run, signature.constant_outputs, effort, clock)
        tried = trier.try_rows(sample, first)
        decision = decide(signature, tried)
    assert decision is not None, "a trial always decides"
    limit = 1
    if decision.batchable:
        limit = most_rows(config.max_rows or MOST_ROWS, [*sample.first.values(), *first.values()])
    timings = _measure_sample(runs, sample.first, limit, clock)
    return Trial(decision.batchable, decision.reason, timings, best_rows(timings), decision.decider, tried)


def _measure_sample(runs: TrialRuns, sample: Sample, limit: int, clock: Clock) -> tuple[Timing, ...]:
    def run(rows: int) -> None:
        runs.run(repeated(sample, rows) if rows > 1 else sample)

    return measure(run, limit, clock)
