"""Any model whose rows may run together, any rows, any split of them into jobs: each job gets what it gets alone."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from msgspec.structs import replace

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.jobs import Completed, Failed
from inferqueue_core.json_tensors import json_values
from inferqueue_core.models import TensorSpec
from inferqueue_core.tensors import Envelope, Tensor, decode_envelope, encode_envelope, is_envelope
from inferqueue_worker.batching import pack
from inferqueue_worker.comparison import LOOSE, same
from inferqueue_worker.decoding import decode_jobs
from inferqueue_worker.execution import BatchExecutor, Verdict
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.results import ResultWriter
from inferqueue_worker.sampling import Batches
from inferqueue_worker.served_model import ServedModel
from support.batchable_models import NOT_BATCHABLE, batchable_models, packaged_models
from support.served import claimed

MODELS = batchable_models() | packaged_models()
NAMES = [
    *(name for name in batchable_models() if name not in NOT_BATCHABLE),
    *(pytest.param(name, marks=pytest.mark.long) for name in packaged_models()),
]
# Of these a value may stand at an edge, over which the rounding of what comes before it tips it.
JUMPING = ("function, steps of a network", "function, label of a network", "a table by each row's largest, deep")
# Whole numbers that a model can take: turns of a loop, places in a table, tokens.
RANGES = {"lasting": (-3, 1000), "lookup": (-6, 5), "sentence embeddings": (0, 1)}
LENGTHS = dict.fromkeys(packaged_models(), (32, 48))
# Each model has a test of its own.
EXAMPLES = settings().max_examples // 12

Load = Callable[[str], ServedModel]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    return cache(lambda name: MODELS[name](tmp_path_factory.mktemp("model")))


def elements(datatype: Datatype, limits: tuple[int, int] | None) -> st.SearchStrategy[Any]:
    """Values that span the type, ordinary ones among them."""
    if datatype is Datatype.BYTES:
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    if datatype.is_float:
        width = 8 * datatype.dtype.itemsize
        return st.floats(-5, 5, width=width) | st.floats(width=width)  # type: ignore[arg-type]  # 16, 32 or 64
    if limits is not None:
        return st.integers(*limits)
    ends = np.iinfo(datatype.dtype.name)
    return st.integers(0, 100) | st.integers(int(ends.min), int(ends.max))


@st.composite
def jobs(draw: st.DrawFn, name: str, specs: Sequence[TensorSpec]) -> list[dict[str, Array]]:
    """Draw rows of one shape or two, split them into jobs, and put those into any order."""
    drawn = []
    for _ in range(draw(st.integers(1, 2))):
        sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
        length = draw(st.sampled_from(LENGTHS.get(name, (1, 2, 3, 4))))
        rows = {}
        for spec in specs:
            shape = (sum(sizes), *(length if size == -1 else size for size in spec.shape[1:]))
            values = elements(spec.datatype, RANGES.get(name))
            rows[spec.name] = draw(st_numpy.arrays(spec.datatype.dtype, shape, elements=values))
        ends = np.cumsum(sizes)[:-1]
        parts = zip(*(np.split(array, ends) for array in rows.values()), strict=True)
        drawn += [dict(zip(rows, part, strict=True)) for part in parts]
    return draw(st.permutations(drawn))


@settings(max_examples=EXAMPLES)
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_any_split_of_rows_into_jobs_gives_each_what_it_gets_alone(load: Load, name: str, data: st.DataObject) -> None:
    model = load(name)
    assert model.trial.batchable, model.trial.reason
    drawn = data.draw(jobs(name, model.signature.inputs))
    in_json = data.draw(st.lists(st.booleans(), min_size=len(drawn), max_size=len(drawn)))
    texts = [written(model, job, as_json=as_json) for job, as_json in zip(drawn, in_json, strict=True)]
    max_rows = data.draw(st.integers(1, 64))
    together = run(replace(model, trial=replace(model.trial, max_rows=max_rows)), texts)
    for job, text, answer in zip(drawn, texts, together, strict=True):
        (alone,) = run(model, [text])
        # What jumps is judged by the worker's own check, in each run.
        assert name in JUMPING or alike(model, answer, alone), (job, answer, alone)


@pytest.mark.parametrize("name", sorted(NOT_BATCHABLE))
def test_only_models_that_are_made_so_are_left_out(load: Load, name: str) -> None:
    assert not load(name).trial.batchable


def written(model: ServedModel, job: dict[str, Array], *, as_json: bool) -> bytes:
    if as_json:
        return orjson.dumps({name: json_values(array) for name, array in job.items()})
    tensors = (Tensor(spec.name, spec.datatype, job[spec.name]) for spec in model.signature.inputs)
    return encode_envelope(Envelope(tuple(tensors)))


def run(model: ServedModel, texts: Sequence[bytes]) -> list[Verdict]:
    """Run jobs as a runner does, with a check of each batch, which must find nothing; return how each job ends."""
    info = model.info("predict_queue")
    batches = Batches(share=1.0)
    executor = BatchExecutor(
        model, ResultWriter(info), HeldJobs(), WorkerMetrics(), 60, lambda: 0.0, model.pace(), batches
    )
    decoded, failed = decode_jobs([claimed(text, number) for number, text in enumerate(texts)], info)
    verdicts: list[Verdict] = [*failed]
    for batch in pack(decoded, model.trial.max_rows, batchable=True):
        batches.worked(1000.0)
        verdicts += executor.run(batch)
    assert batches.allowed
    return sorted(verdicts, key=lambda verdict: int(verdict.job.id.removeprefix("job-")))


def alike(model: ServedModel, one: Verdict, other: Verdict) -> bool:
    """Tell whether two endings are the same, but for the rounding of floats."""
    if isinstance(one, Completed) and isinstance(other, Completed):
        first, second = (outputs(verdict.result, model.signature.json_outputs) for verdict in (one, other))
        return alike_values(first, second)
    return isinstance(one, Failed) and isinstance(other, Failed) and one.error == other.error


def outputs(result: bytes, json_outputs: Sequence[str]) -> Any:
    if not is_envelope(result):
        return orjson.loads(result)
    return {
        tensor.name: list(map(orjson.loads, tensor.array)) if tensor.name in json_outputs else tensor.array
        for tensor in decode_envelope(result).tensors
    }


def alike_values(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike_values(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list) and one and isinstance(one[0], dict):
        return len(one) == len(other) and all(map(alike_values, one, other))
    return same(np.asarray(one), np.asarray(other), LOOSE)
