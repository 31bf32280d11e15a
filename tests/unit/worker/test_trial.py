"""Whether rows are independent is proven on the real model; how many pay is measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from onnx import ModelProto, TensorProto, helper

from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import TensorSpec
from inferqueue_worker.errors import PredictionError
from inferqueue_worker.graph import RowReading
from inferqueue_worker.predictor import ModelSignature, Output, RunControl
from inferqueue_worker.repository import ModelConfig
from inferqueue_worker.row_trial import RowTrial
from inferqueue_worker.samples import samples, variations
from inferqueue_worker.served_model import ServedModel
from inferqueue_worker.timing import MOST_BYTES, Timing, best_rows, measure, most_rows
from inferqueue_worker.trial import Decision, decide, try_model
from support.onnx_models import (
    FLOAT,
    INT64,
    STRING,
    array_classifier,
    doubling,
    lookup,
    make,
    sequence_output,
    unary,
    value,
    zipmap_classifier,
)
from support.served import load


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(doubling(), id="sum of each row"),
        pytest.param(unary("Softmax", axis=1), id="softmax within a row"),
        pytest.param(unary("Identity", ["rows"], STRING), id="strings of rank 1"),
        pytest.param(unary("Neg", [None, "a", "b"]), id="free dimensions"),
        pytest.param(lookup(), id="lookup by index"),
        pytest.param(array_classifier(), id="classifier"),
        pytest.param(zipmap_classifier(), id="classifier with maps"),
    ],
)
def test_independent_rows_are_batched(tmp_path: Path, model: ModelProto | bytes) -> None:
    trial = load(tmp_path, model).trial
    assert trial.batchable, trial.reason
    assert trial.timings


def centered(kind: int) -> ModelProto:
    """`y = x - mean(x, axis 0)`, which is 0 for any row alone."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=FLOAT),
        helper.make_node("ReduceMean", ["f"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["f", "mean"], ["y"]),
    ]
    return make(nodes, [value("x", kind, ["rows", 1])], [value("y", FLOAT, ["rows", 1])])


def reduced(keepdims: int) -> ModelProto:
    node = helper.make_node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=keepdims)
    return make([node], [value("x", FLOAT, ["rows", 2])], [value("y", FLOAT, None)])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param(unary("Softmax", axis=0), "(Softmax) normalizes along axis 0", id="softmax"),
        pytest.param(unary("Identity", []), "input 'x' is a scalar", id="scalar"),
        pytest.param(unary("Identity", [3, 2]), "axis 0 of input 'x' is fixed at 3", id="fixed batch"),
        pytest.param(unary("Identity", [2, "rows"]), "axis 0 of input 'x' is fixed at 2", id="batch on axis 1"),
        pytest.param(centered(FLOAT), "(ReduceMean) reduces axis 0", id="mean of floats"),
        pytest.param(centered(INT64), "(ReduceMean) reduces axis 0", id="mean of integers"),
        pytest.param(centered(TensorProto.BOOL), "(ReduceMean) reduces axis 0", id="mean of booleans"),
        pytest.param(reduced(1), "(ReduceMax) reduces axis 0", id="one row for all"),
        pytest.param(reduced(0), "(ReduceMax) reduces axis 0", id="axis 0 is gone"),
        pytest.param(sequence_output(), "output 'y' is a sequence of tensors", id="sequence"),
        pytest.param(unary("Transpose", ["a", "b"], perm=[1, 0]), "has the rows along axis 1", id="transposed"),
    ],
)
def test_dependent_rows_are_not_batched(tmp_path: Path, model: ModelProto, reason: str) -> None:
    served = load(tmp_path, model)
    assert not served.trial.batchable
    assert served.trial.max_rows == 1
    assert reason in served.trial.reason
    # Without the graph, which names a node, the trial finds it as well.
    assert not try_model(Unread(served), ModelConfig()).batchable


class Unread:
    """A model whose graph nobody has read."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def load(self) -> None: ...

    def metadata(self) -> ModelSignature:
        return replace(self._model.signature, reading=None, doubt="", constant_outputs=())

    def predict(self, inputs: Mapping[str, Any], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        return self._model.predictor.predict(inputs, outputs, control)


def test_inputs_that_name_axis_0_differently_are_not_batched(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    inputs = [value("a", FLOAT, ["left", 2]), value("b", FLOAT, ["right", 2])]
    trial = load(tmp_path, make([node], inputs, [value("y", FLOAT, ["left", 2])])).trial
    assert "its inputs name axis 0 differently: left, right" in trial.reason


def renamed(label: str = "rows", output: str | None = "found") -> ModelProto:
    node = helper.make_node("Neg", ["x"], ["y"])
    return make([node], [value("x", FLOAT, [label, 2])], [value("y", FLOAT, [output, 2])])


APART, MIXED = RowReading("apart", ""), RowReading("mixed", "node 'n' mixes")
UNDECIDED = RowReading("undecided", "node 'n' is unknown")
PASSED, FAILED = RowTrial(3, 0, (), ""), RowTrial(3, 0, (), "rows depend")


@pytest.mark.parametrize("reading", [None, UNDECIDED])
def test_an_output_that_names_axis_0_anew_is_batched_only_where_the_graph_proves_it(
    tmp_path: Path, reading: RowReading | None
) -> None:
    signature = replace(load(tmp_path, renamed()).signature, reading=reading)
    decision = decide(signature, PASSED)
    assert decision is not None
    assert "output 'y' names axis 0 'found', its inputs rows" in decision.reason
    proven = decide(replace(signature, reading=APART), PASSED)
    assert proven is not None
    assert proven.batchable


@pytest.mark.parametrize(
    ("model", "config", "batchable"),
    [
        pytest.param(renamed(), "batch_labels: [rows, found]", True, id="both named"),
        pytest.param(renamed(output=None), "", True, id="output without a name"),
        pytest.param(renamed(output="rows"), "", True, id="the same name"),
        pytest.param(renamed("frames", "frames"), "batch_labels: [rows]", False, id="another is named"),
    ],
)
def test_labels_in_model_yaml_mean_the_batch(tmp_path: Path, model: ModelProto, config: str, batchable: bool) -> None:
    signature = replace(load(tmp_path, model, config).signature, reading=None)
    decision = decide(signature, PASSED)
    assert decision is not None
    assert decision.batchable is batchable


def test_labels_in_model_yaml_join_inputs_that_name_axis_0_differently(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    inputs = [value("a", FLOAT, ["left", 2]), value("b", FLOAT, ["right", 2])]
    trial = load(tmp_path, make([node], inputs, [value("y", FLOAT, ["left", 2])]), "batch_labels: [left, right]").trial
    assert trial.batchable, trial.reason


@pytest.mark.parametrize("trial", [None, PASSED, FAILED])
@pytest.mark.parametrize("reading", [None, APART, MIXED, UNDECIDED])
def test_rows_run_together_only_when_nothing_speaks_against_it(
    reading: RowReading | None, trial: RowTrial | None
) -> None:
    decision = decide(replace(Custom((-1, 2)).metadata(), reading=reading), trial)
    if reading is MIXED:
        assert decision == Decision(False, "node 'n' mixes", "graph")
    elif trial is None:
        assert decision is None
    elif trial is FAILED:
        assert decision == Decision(False, "rows depend", "trial")
    else:
        assert decision is not None
        assert decision.batchable
        assert decision.decider == ("graph" if reading is APART else "trial")


def test_constants_have_no_rows(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Identity", ["names"], ["labels"])]
    outputs = [value("y", FLOAT, ["rows", 2]), value("labels", FLOAT, [3])]
    model = make(nodes, [value("x", FLOAT, ["rows", 2])], outputs, {"names": np.arange(3, dtype=np.float32)})
    served = load(tmp_path, model)
    unproven = try_model(Unread(served), ModelConfig())
    assert "output 'labels' has shape (3,) for 1 rows of input" in unproven.reason

    class Constant(Unread):
        def metadata(self) -> ModelSignature:
            return replace(super().metadata(), constant_outputs=("labels",))

    assert try_model(Constant(served), ModelConfig()).batchable


def test_a_constant_that_is_none_is_found() -> None:
    class NoConstant(Custom):
        def metadata(self) -> ModelSignature:
            other = TensorSpec(name="z", datatype=Datatype.FP32, shape=(-1, 2))
            signature = super().metadata()
            return replace(signature, outputs=(*signature.outputs, other), constant_outputs=("x",))

        def predict(self, inputs: Mapping[str, Any], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
            return {"x": inputs["x"], "z": inputs["x"]}

    assert "output 'x' is no constant" in try_model(NoConstant((-1, 2)), ModelConfig()).reason


@pytest.mark.parametrize("array", [np.ones((1, 4), np.uint8), np.zeros((1, 1), np.int64), np.ones((1, 3), bool)])
def test_made_up_values_span_the_type(array: np.ndarray) -> None:
    made = list(variations(array))
    assert all((one.dtype, one.shape) == (array.dtype, array.shape) for one in made)
    if array.dtype == np.uint8:
        assert {int(one.min()) for one in made} >= {0, 255 // 12}
        assert {int(one.max()) for one in made} >= {255, 0}
    assert len({one.tobytes() for one in made}) >= 2


def test_a_model_without_inputs_is_not_batched(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["c"], ["y"])
    model = make([node], [], [value("y", FLOAT, [1])], {"c": np.ones(1, np.float32)})
    assert load(tmp_path, model).trial.reason == "it has no inputs"


def test_model_yaml_can_forbid_batches(tmp_path: Path) -> None:
    assert load(tmp_path, doubling(), "batchable: false").trial.reason == "model.yaml says batchable: false"


def test_a_model_that_takes_no_made_up_input_says_what_to_do(tmp_path: Path) -> None:
    square = helper.make_node("Reshape", ["x", "shape"], ["y"])
    model = make(
        [square], [value("x", FLOAT, ["rows", "n"])], [value("y", FLOAT, ["rows", 7, 11])], {"shape": [-1, 7, 11]}
    )
    trial = load(tmp_path, model).trial
    assert not trial.batchable
    assert "give a `sample` that does in model.yaml" in trial.reason


@pytest.mark.parametrize("sample", ["[[0.5, 0.5]]", "[[0.5, 0.5], [1, 2]]", "[[0.5, 0.5], [1, 2], [3, 4]]"])
def test_a_sample_in_model_yaml_is_tried(tmp_path: Path, sample: str) -> None:
    trial = load(tmp_path, doubling(), f"sample: {{x: {sample}}}").trial
    assert trial.batchable, trial.reason
    assert trial.timings[0].rows == 1


def test_a_sample_of_two_rows_spares_the_model_a_made_up_one(tmp_path: Path) -> None:
    shifted = helper.make_node("Sub", ["x", "fifty"], ["index"])
    gather = helper.make_node("Gather", ["table", "index"], ["y"])
    table = {"table": np.arange(3, dtype=np.float32), "fifty": np.array(50, np.int64)}
    model = make([shifted, gather], [value("x", INT64, ["rows"])], [value("y", FLOAT, ["rows"])], table)
    assert "give a `sample` of two rows" in load(tmp_path / "one", model, "sample: {x: [50]}").trial.reason
    assert load(tmp_path / "two", model, "sample: {x: [50, 52]}").trial.batchable


def test_a_sample_that_varies_to_itself_still_shows_dependence(tmp_path: Path) -> None:
    assert not load(tmp_path, centered(FLOAT), "sample: {x: [[0.5]]}").trial.batchable


class Custom:
    """A predictor of somebody's own that does as it likes."""

    def __init__(self, shape: tuple[int, ...], error: Exception | None = None) -> None:
        self._shape = shape
        self._error = error

    def load(self) -> None:
        pass

    def metadata(self) -> ModelSignature:
        spec = TensorSpec(name="x", datatype=Datatype.FP32, shape=self._shape)
        return ModelSignature((spec,), (spec,))

    def predict(self, inputs: Mapping[str, Any], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        if self._error is not None:
            raise self._error
        return {"x": inputs["x"]}


def test_a_custom_predictor_with_rows_is_batched() -> None:
    assert try_model(Custom((-1, 2)), ModelConfig()).batchable


def test_a_custom_predictor_is_not_batched_where_model_yaml_forbids_it() -> None:
    trial = try_model(Custom((-1, 2)), ModelConfig(batchable=False))
    assert (trial.batchable, trial.reason) == (False, "model.yaml says batchable: false")
    assert trial.max_rows == 1


def test_a_custom_predictor_of_scalars_is_not_batched() -> None:
    assert try_model(Custom(()), ModelConfig()).reason == "input 'x' is a scalar"


def test_whatever_a_custom_predictor_raises_is_the_reason() -> None:
    assert "KeyError: 'lost'" in try_model(Custom((-1, 2), KeyError("lost")), ModelConfig()).reason


def test_huge_inputs_are_not_made_up(tmp_path: Path) -> None:
    trial = load(tmp_path, unary("Neg", ["rows", 1_000_000_000])).trial
    assert "no made-up input fits it (one row would hold more than 16777216 values)" in trial.reason


def test_many_free_dimensions_are_tried_at_lengths_that_fit() -> None:
    free = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, -1, -1, -1, -1))
    sizes = [sample.first["x"].size for sample in samples(ModelSignature(inputs=(free,), outputs=()), None)]
    assert sizes == [32**4, 8**4, 1]


def test_large_rows_bound_the_batch() -> None:
    image = np.zeros((1, 3, 1024, 1024), np.float32)
    assert most_rows(1024, [image]) == MOST_BYTES // image.nbytes
    assert most_rows(1024, [np.zeros((1, 4), np.float32)]) == 1024
    assert most_rows(1024, [np.zeros((1, MOST_BYTES), np.float32)]) == 1


def timings_of(seconds_by_rows: Mapping[int, float], limit: int = 64) -> tuple[Timing, ...]:
    """Measure a model that takes these times."""
    return measured(seconds_by_rows, limit)[0]


def measured(seconds_by_rows: Mapping[int, float], limit: int) -> tuple[tuple[Timing, ...], float]:
    """Measure a model that takes these times, on a clock that only its runs move, and tell what the clock shows."""
    now = 0.0

    def run(rows: int) -> None:
        nonlocal now
        now += seconds_by_rows[rows]

    return measure(run, limit, lambda: now), now


def test_growth_stops_after_two_sizes_without_gain() -> None:
    timings = timings_of({1: 0.001, 2: 0.0012, 4: 0.0024, 8: 0.0048, 16: 0.0001})
    assert [timing.rows for timing in timings] == [1, 2, 4, 8]
    assert best_rows(timings) == 2


def test_a_busy_node_does_not_hide_what_rows_gain() -> None:
    now, runs = 0.0, 0

    def run(rows: int) -> None:
        nonlocal now, runs
        runs += 1
        # Two thirds of the runs share the processor with others, and a row costs next to nothing.
        now += 0.001 if runs % 3 == 0 else 0.001 * (1 + rows)

    assert best_rows(measure(run, 64, lambda: now)) == 64


def test_one_size_without_gain_is_enough_where_runs_are_long() -> None:
    timings = timings_of({1: 0.09, 2: 0.18, 4: 0.36, 8: 0.001})
    assert [timing.rows for timing in timings] == [1, 2]


def test_a_shortest_time_that_comes_again_is_believed() -> None:
    seconds = iter([0.003, 0.001, 0.00101, 0.0001])
    now = 0.0

    def run(_: int) -> None:
        nonlocal now
        now += next(seconds)

    (timing,) = measure(run, 1, lambda: now)
    assert timing.seconds == pytest.approx(0.001)


def test_growth_stops_at_the_limit() -> None:
    timings = timings_of(dict.fromkeys((1, 2, 4, 8, 16, 32, 64), 0.001), limit=10)
    assert best_rows(timings) == 8


def test_a_slow_model_is_measured_once_a_size_and_not_for_long() -> None:
    timings = timings_of({1: 3.0, 2: 3.0, 4: 3.0})
    assert [timing.rows for timing in timings] == [1, 2]


@pytest.mark.parametrize("seconds", [0.02, 0.06, 1.0])
def test_a_model_that_does_not_batch_is_measured_for_a_moment(seconds: float) -> None:
    (timing,), took = measured({1: seconds}, limit=1)
    assert timing.seconds == pytest.approx(seconds)
    assert took <= max(seconds, 0.08)


def test_a_size_that_fails_ends_the_growth() -> None:
    def run(rows: int) -> None:
        if rows > 2:
            raise PredictionError("too large")

    ticks = iter(range(10_000))
    assert [timing.rows for timing in measure(run, 64, lambda: next(ticks) / 1e6)] == [1, 2]


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=11))
def test_the_best_size_is_never_slower_than_one_row_alone(seconds: list[float]) -> None:
    timings = [Timing(2**power, value) for power, value in enumerate(seconds)]
    best = next(timing for timing in timings if timing.rows == best_rows(timings))
    assert best.rows_per_second >= timings[0].rows_per_second


def test_without_timings_one_row_runs() -> None:
    assert best_rows([]) == 1
