"""A model as the worker serves it: the predictor, what it is, and what was found at load."""

from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct
from msgspec.structs import replace

from inferqueue_core.models import ModelInfo, signature_of
from inferqueue_worker.classes import Classes, read_classes
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.pace import Pace
from inferqueue_worker.predictor import ModelSignature, Predictor, PredictorFactory
from inferqueue_worker.repository import ModelFiles
from inferqueue_worker.trial import TRIAL_SECONDS, Trial, try_model

# A claim is worth about this much running time: less wastes round trips on fast models, more hoards slow jobs.
CLAIM_SECONDS = 0.05
MOST_JOBS = 256
# Redis takes about as long to hand out and take back a claim of MOST_JOBS.
SHORT_CLAIM_SECONDS = 0.01


class ServedModel(Struct, frozen=True):
    """A loaded model; `jobs_per_claim` is how many jobs a runner takes at once at most."""

    predictor: Predictor
    files: ModelFiles
    signature: ModelSignature
    trial: Trial
    digest: str
    classes: Classes = Classes()

    def info(self, queue: str) -> ModelInfo:
        """Describe the model for the other programs."""
        info = ModelInfo(
            name=self.files.name,
            version=self.files.version,
            queue=queue,
            inputs=tuple(self.signature.inputs),
            outputs=tuple(self.signature.outputs),
            batchable=self.trial.batchable,
            finite=self.files.config.finite,
            classes=self.classes.names,
            labels=self.classes.labels,
            json_outputs=tuple(self.signature.json_outputs),
            constant_outputs=tuple(self.signature.constant_outputs),
            platform=self.signature.platform,
            digest=self.digest,
            max_rows=self.trial.max_rows,
        )
        return replace(info, signature=signature_of(info))

    @property
    def jobs_per_claim(self) -> int:
        seconds = self.trial.seconds_per_row
        in_time = 1 if seconds is None else int(CLAIM_SECONDS / seconds)
        return min(MOST_JOBS, max(1, self.trial.max_rows, in_time))

    @property
    def waits_for_redis(self) -> bool:
        """Whether a full claim runs in less time than it takes Redis to hand it out."""
        seconds = self.trial.seconds_per_row
        return seconds is not None and seconds * self.jobs_per_claim < SHORT_CLAIM_SECONDS

    def runners(self, cpus: int) -> int:
        """Give the runners that keep so many CPUs busy: one more where most of them wait for Redis."""
        return cpus + 1 if self.waits_for_redis else cpus

    def pace(self) -> Pace:
        """Return a pace that knows what the trial measured."""
        return Pace(self.trial.timings, self.jobs_per_claim, self.trial.max_rows)

    def sharers(self, runners: int) -> int:
        """Give among how many what waits is shared: a fast model's jobs are better taken together than side by side."""
        return 1 if self.waits_for_redis else runners


def load_model(
    files: ModelFiles,
    factory: PredictorFactory | None,
    intra_op_threads: int,
    trial_seconds: float = TRIAL_SECONDS,
) -> ServedModel:
    """Load a model and try it; raise ModelLoadError when it cannot be served."""
    # Both read the files, and neither holds the interpreter while it does. The trial, which takes times, comes after.
    with ThreadPoolExecutor(1, "digest") as beside:
        digest = beside.submit(files.digest)
        predictor, signature = _loaded(files, factory, intra_op_threads)
    trial = try_model(predictor, files.config, seconds=trial_seconds)
    classes = read_classes(predictor, signature, files.config, runs=bool(trial.timings))
    return ServedModel(predictor, files, signature, trial, digest.result(), classes)


def _loaded(
    files: ModelFiles, factory: PredictorFactory | None, intra_op_threads: int
) -> tuple[Predictor, ModelSignature]:
    try:
        predictor = _onnx_predictor(files, intra_op_threads) if factory is None else factory(files)
        predictor.load()
        return predictor, predictor.metadata()
    except ModelLoadError:
        raise
    except Exception as error:  # a predictor of the user's own may raise anything
        raise ModelLoadError(f"cannot load {files.path}: {type(error).__name__}: {error}") from error


def _onnx_predictor(files: ModelFiles, intra_op_threads: int) -> Predictor:
    # Importing ONNX Runtime takes longer than most of a start; workers with a predictor of their own need none.
    from inferqueue_worker.onnx_predictor import OnnxPredictor

    return OnnxPredictor(files, intra_op_threads)
