"""What the reading says of a graph: operators that mix rows are found at any depth and named, others pass."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from inferqueue_worker.graph import RowReading, read_rows
from support.onnx_models import FLOAT, INT64, STRING, lasting, make, sequence_output, value

WIDTH = 4
node = helper.make_node
Nodes = Sequence[NodeProto]
Constants = dict[str, Any]


def ints(*numbers: int) -> Any:
    return np.array(numbers, dtype=np.int64)


def floats(*shape: int) -> Any:
    return np.linspace(0.5, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def mixers() -> dict[str, tuple[Nodes, Constants]]:
    """Give nodes that make `y` of `x` (rows of 4 floats) and mix its rows; the node that does so is named `mixer`."""

    def one(operator: str, *inputs: str, **attributes: Any) -> NodeProto:
        return node(operator, ["x", *inputs], ["y"], name="mixer", **attributes)

    def then(operator: str, *inputs: str, finish: Nodes, outputs: Sequence[str] = ("t",), **attributes: Any) -> Nodes:
        return [node(operator, ["x", *inputs], list(outputs), name="mixer", **attributes), *finish]

    minus = [node("Sub", ["x", "t"], ["y"])]
    as_float = [node("Cast", ["t"], ["y"], to=FLOAT)]
    return {
        "ReduceMax": (then("ReduceMax", finish=minus, keepdims=0), {}),
        "ReduceMean axis 0": (then("ReduceMean", finish=minus, axes=[0]), {}),
        "ReduceSum axis 0": (then("ReduceSum", "a", finish=minus), {"a": ints(0)}),
        "ReduceL2 negative axis": (then("ReduceL2", finish=minus, axes=[-2]), {}),
        "Softmax axis 0": ([one("Softmax", axis=0)], {}),
        "LogSoftmax axis 0": ([one("LogSoftmax", axis=-2)], {}),
        "Hardmax axis 0": ([one("Hardmax", axis=0)], {}),
        "LpNormalization axis 0": ([one("LpNormalization", axis=0)], {}),
        "LayerNormalization axis 0": ([one("LayerNormalization", "s", axis=0)], {"s": floats(1)}),
        "CumSum axis 0": ([one("CumSum", "a")], {"a": np.array(0)}),
        "ArgMax axis 0": (then("ArgMax", finish=as_float, axis=0), {}),
        "TopK axis 0": (
            then("TopK", "k", finish=[node("Identity", ["t"], ["y"])], outputs=("t", "u"), axis=0),
            {"k": ints(1)},
        ),
        "Concat axis 0": ([one("Concat", "x", axis=0)], {}),
        "Slice axis 0": ([one("Slice", "s", "e", "a")], {"s": ints(0), "e": ints(1), "a": ints(0)}),
        "Slice backwards": (
            [one("Slice", "s", "e", "a", "b")],
            {"s": ints(-1), "e": ints(-(2**31)), "a": ints(0), "b": ints(-1)},
        ),
        "Gather row 0": (then("Gather", "i", finish=minus), {"i": np.array(0)}),
        "GatherElements axis 0": ([one("GatherElements", "i", axis=0)], {"i": np.zeros((1, WIDTH), np.int64)}),
        "GatherND rows": ([one("GatherND", "i")], {"i": np.array([[0]])}),
        "Split axis 0": (
            then("Split", "s", finish=[node("Identity", ["t"], ["y"])], outputs=("t", "u")),
            {"s": ints(1, 1)},
        ),
        "Transpose": ([one("Transpose")], {}),
        "Reshape to one row": ([one("Reshape", "s")], {"s": ints(1, -1)}),
        "Reshape to two rows": ([one("Reshape", "s")], {"s": ints(2, -1)}),
        "Flatten axis 0": ([one("Flatten", axis=0)], {}),
        "Squeeze the rows": ([one("Squeeze", "a")], {"a": ints(0)}),
        "MatMul by itself": ([node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"], name="mixer")], {}),
        "Gemm transposed": ([one("Gemm", "x", transA=1)], {}),
        "Einsum over rows": ([one("Einsum", equation="ij->j")], {}),
        "Einsum of pairs": ([one("Einsum", "x", equation="ij,kj->ik")], {}),
        "a constant of two rows": ([one("Add", "c")], {"c": floats(2, WIDTH)}),
        "NonZero": (then("NonZero", finish=as_float), {}),
        "Unique": ([one("Unique")], {}),
        "Compress": ([one("Compress", "c", axis=0)], {"c": np.array([True])}),
        "DynamicQuantizeLinear": (
            then(
                "DynamicQuantizeLinear",
                finish=[node("DequantizeLinear", ["t", "u", "v"], ["y"])],
                outputs=("t", "u", "v"),
            ),
            {},
        ),
        "Trilu": ([one("Trilu")], {}),
        "EyeLike": ([one("EyeLike")], {}),
        "Pad axis 0": ([one("Pad", "p")], {"p": ints(1, 0, 0, 0)}),
        "Tile axis 0": ([one("Tile", "r")], {"r": ints(2, 1)}),
        "BatchNormalization in training": (
            then(
                "BatchNormalization",
                "s",
                "s",
                "s",
                "s",
                finish=[node("Identity", ["t"], ["y"])],
                training_mode=1,
                outputs=("t", "u", "v"),
            ),
            {"s": floats(WIDTH)},
        ),
        "RandomUniformLike": ([one("RandomUniformLike")], {}),
        "Bernoulli": ([one("Bernoulli")], {}),
        "ReverseSequence": ([one("ReverseSequence", "l", time_axis=0, batch_axis=1)], {"l": ints(1, 1, 1, 1)}),
        "ScatterND": ([one("ScatterND", "i", "u")], {"i": np.array([[0]]), "u": floats(1, WIDTH)}),
        "ScatterElements": ([one("ScatterElements", "i", "u")], {"i": np.zeros((1, 1), np.int64), "u": floats(1, 1)}),
        "MeanVarianceNormalization": ([one("MeanVarianceNormalization", axes=[0])], {}),
        "Size as a number": (
            [
                node("Size", ["x"], ["t"]),
                node("Cast", ["t"], ["u"], to=FLOAT),
                node("Div", ["x", "u"], ["y"], name="mixer"),
            ],
            {},
        ),
        "numbers of rows as data": (
            [
                node("Shape", ["x"], ["t"], start=0, end=1),
                node("Squeeze", ["t"], ["u"]),
                node("Range", ["zero", "u", "one"], ["v"]),
                node("Cast", ["v"], ["w"], to=FLOAT, name="mixer"),
                node("Unsqueeze", ["w", "a"], ["r"]),
                node("Add", ["x", "r"], ["y"]),
            ],
            {"zero": np.array(0), "one": np.array(1), "a": ints(1)},
        ),
        "SplitToSequence": (
            then("SplitToSequence", finish=[node("ConcatFromSequence", ["t"], ["y"], axis=1)], axis=0),
            {},
        ),
        "StringSplit pads": (
            [
                node("Cast", ["x"], ["s"], to=STRING),
                node("Gather", ["s", "column"], ["t"], axis=1),
                node("StringSplit", ["t"], ["y", "counts"], name="mixer"),
            ],
            {"column": np.array(0)},
        ),
    }


def keepers() -> dict[str, tuple[Nodes, Constants]]:
    """Give nodes that make `y` of `x` (rows of 4 floats) and keep its rows apart."""

    def one(operator: str, *inputs: str, **attributes: Any) -> tuple[Nodes, Constants]:
        return [node(operator, ["x", *inputs], ["y"], **attributes)], {}

    def by(constants: Constants, operator: str, *inputs: str, **attributes: Any) -> tuple[Nodes, Constants]:
        return one(operator, *inputs, **attributes)[0], constants

    shape = node("Shape", ["x"], ["shape"])
    return {
        "Relu": one("Relu"),
        "Softmax": one("Softmax", axis=-1),
        "ReduceMax": one("ReduceMax", axes=[1]),
        "LayerNormalization": by({"s": floats(WIDTH)}, "LayerNormalization", "s"),
        "CumSum": by({"a": np.array(1)}, "CumSum", "a"),
        "MatMul": by({"w": floats(WIDTH, 3)}, "MatMul", "w"),
        "Gemm": by({"w": floats(3, WIDTH), "b": floats(3)}, "Gemm", "w", "b", transB=1),
        "a constant row": by({"c": floats(1, WIDTH)}, "Add", "c"),
        "Slice": by({"s": ints(0), "e": ints(2), "a": ints(1)}, "Slice", "s", "e", "a"),
        "Slice all rows": by({"s": ints(0), "e": ints(2**63 - 1), "a": ints(0)}, "Slice", "s", "e", "a"),
        "Gather column": by({"i": ints(2, 0)}, "Gather", "i", axis=1),
        "Tile columns": by({"r": ints(1, 2)}, "Tile", "r"),
        "Reshape": by({"s": ints(-1, 2, 2)}, "Reshape", "s"),
        "Reshape by its shape": (
            [
                shape,
                node("Gather", ["shape", "zero"], ["n"]),
                node("Concat", ["n", "rest"], ["s"], axis=0),
                node("Reshape", ["x", "s"], ["y"]),
            ],
            {"zero": ints(0), "rest": ints(2, -1)},
        ),
        "all rows in one axis and back": (
            [
                node("Reshape", ["x", "flat"], ["t"]),
                node("Relu", ["t"], ["u"]),
                node("Reshape", ["u", "rows"], ["y"]),
            ],
            {"flat": ints(-1, 1), "rows": ints(-1, WIDTH)},
        ),
        "transposed and back": (
            [node("Transpose", ["x"], ["t"]), node("Softmax", ["t"], ["u"], axis=0), node("Transpose", ["u"], ["y"])],
            {},
        ),
        "zeros for each row": ([shape, node("ConstantOfShape", ["shape"], ["t"]), node("Sub", ["t", "x"], ["y"])], {}),
        "sizes of other axes": (
            [
                shape,
                node("Gather", ["shape", "one"], ["n"]),
                node("Cast", ["n"], ["f"], to=FLOAT),
                node("Div", ["x", "f"], ["y"]),
            ],
            {"one": np.array(1)},
        ),
        "each its own row": (
            [
                shape,
                node("Gather", ["shape", "zero"], ["n"]),
                node("Range", ["zero", "n", "one"], ["numbers"]),
                node("Gather", ["x", "numbers"], ["y"]),
            ],
            {"zero": np.array(0), "one": np.array(1)},
        ),
        "Split": ([node("Split", ["x", "s"], ["y", "t"], axis=1)], {"s": ints(1, 3)}),
        "Einsum": by({"w": floats(WIDTH, 2)}, "Einsum", "w", equation="nd,dk->nk"),
        "BatchNormalization": by({"s": floats(WIDTH)}, "BatchNormalization", "s", "s", "s", "s"),
        "SplitToSequence": (
            [node("SplitToSequence", ["x"], ["t"], axis=1), node("ConcatFromSequence", ["t"], ["y"], axis=1)],
            {},
        ),
    }


# Where the nodes stand: by themselves, after other nodes, in the graph of a condition, a loop or a scan, in a function.
Place = Callable[[Nodes, Constants], ModelProto]


def plain(nodes: Nodes, constants: Constants) -> ModelProto:
    return make(
        nodes, [value("x", FLOAT, ["rows", WIDTH])], [value("y", FLOAT, None)], constants, opset=20, ir_version=9
    )


def deep(nodes: Nodes, constants: Constants) -> ModelProto:
    before = [node("Mul", ["first", "two"], ["a1"]), node("Tanh", ["a1"], ["x"])]
    model = plain([*before, *nodes], {**constants, "two": np.float32(2)})
    model.graph.input[0].name = "first"
    return model


def graph_of(nodes: Nodes, inputs: Sequence[Any] = (), outputs: Sequence[Any] = ()) -> Any:
    return helper.make_graph(list(nodes), "body", list(inputs), [*outputs, value("y", FLOAT, None)])


def in_condition(nodes: Nodes, constants: Constants) -> ModelProto:
    body = graph_of(nodes)
    choice = node("If", ["yes"], ["out"], then_branch=body, else_branch=body)
    return renamed(plain([choice], {**constants, "yes": np.array(True)}))


def in_nested_condition(nodes: Nodes, constants: Constants) -> ModelProto:
    inner = node("If", ["yes"], ["y"], then_branch=graph_of(nodes), else_branch=graph_of(nodes))
    choice = node("If", ["yes"], ["out"], then_branch=graph_of([inner]), else_branch=graph_of([inner]))
    return renamed(plain([choice], {**constants, "yes": np.array(True)}))


def in_loop(nodes: Nodes, constants: Constants) -> ModelProto:
    """The loop stacks what each of its two turns gives; the first turn's is taken."""
    inputs = [value("turn", INT64, []), value("go", TensorProto.BOOL, [])]
    body = graph_of([node("Identity", ["go"], ["on"]), *nodes], inputs, [value("on", TensorProto.BOOL, [])])
    loop = node("Loop", ["turns", "yes"], ["all"], body=body)
    taken = node("Gather", ["all", "first_turn"], ["out"])
    extra = {"yes": np.array(True), "turns": np.array(2), "first_turn": np.array(0)}
    return renamed(plain([loop, taken], {**constants, **extra}))


def in_function(nodes: Nodes, constants: Constants) -> ModelProto:
    opsets = [helper.make_opsetid("", 20)]
    function = helper.make_function("own", "Layer", ["x", *constants], ["y"], list(nodes), opsets)
    model = plain([node("Layer", ["x", *constants], ["y"], domain="own")], constants)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(function)
    return model


def renamed(model: ModelProto) -> ModelProto:
    model.graph.output[0].name = "out"
    return model


PLACES = [plain, deep, in_condition, in_nested_condition, in_loop, in_function]


def read(folder: Path, model: ModelProto | bytes, labels: Sequence[str] = ()) -> RowReading:
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return read_rows(path, labels)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", mixers())
def test_an_operator_that_mixes_rows_is_found_and_named(tmp_path: Path, name: str, place: Place) -> None:
    nodes, constants = mixers()[name]
    reading = read(tmp_path, place(nodes, constants))
    assert reading.verdict == "mixed"
    culprit = next((one for one in nodes if one.name == "mixer"), nodes[-1])
    named = f"({culprit.op_type})" in reading.reason
    assert named or reading.reason.startswith("output "), reading.reason


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", keepers())
def test_an_operator_that_keeps_rows_apart_passes(tmp_path: Path, name: str, place: Place) -> None:
    reading = read(tmp_path, place(*keepers()[name]))
    assert reading.verdict == "apart", reading.reason


def test_a_condition_of_the_rows_mixes_them(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMax", ["x"], ["top"], keepdims=0),
        node("Greater", ["top", "one"], ["hot"]),
        node(
            "If",
            ["hot"],
            ["y"],
            name="choice",
            then_branch=graph_of([node("Neg", ["x"], ["y"])]),
            else_branch=graph_of([node("Relu", ["x"], ["y"])]),
        ),
    ]
    reading = read(tmp_path, plain(nodes, {"one": np.float32(1)}))
    assert (reading.verdict, "(ReduceMax)" in reading.reason) == ("mixed", True)


def test_an_operator_that_nobody_knows_leaves_it_open_and_is_named(tmp_path: Path) -> None:
    model = plain([node("Frobnicate", ["x"], ["y"], name="odd", domain="com.example")], {})
    reading = read(tmp_path, model)
    assert reading.verdict == "undecided"
    assert "node 'odd' (com.example.Frobnicate)" in reading.reason


@pytest.mark.parametrize(("labels", "verdict"), [((), "mixed"), (("found",), "undecided")])
def test_what_is_left_open_hangs_on_the_name_of_axis_0(tmp_path: Path, labels: Sequence[str], verdict: str) -> None:
    nodes = [node("Frobnicate", ["x"], ["y"], domain="com.example")]
    model = make(nodes, [value("x", FLOAT, ["rows", 2])], [value("y", FLOAT, ["found", 2])])
    assert read(tmp_path, model, labels).verdict == verdict


def test_an_output_that_depends_on_no_input_is_a_constant(tmp_path: Path) -> None:
    nodes = [node("Neg", ["x"], ["y"]), node("Identity", ["names"], ["classes"]), node("Add", ["c", "c"], ["twice"])]
    outputs = [value("y", FLOAT, None), value("classes", STRING, None), value("twice", FLOAT, None)]
    constants = {"names": np.array(["cat", "dog"], dtype=object), "c": floats(3)}
    reading = read(tmp_path, make(nodes, [value("x", FLOAT, ["rows", 2])], outputs, constants))
    assert (reading.verdict, reading.constant_outputs) == ("apart", ("classes", "twice"))


def test_only_the_outputs_asked_for_are_judged(tmp_path: Path) -> None:
    nodes = [node("Neg", ["x"], ["y"]), node("ReduceMax", ["x"], ["top"], keepdims=0)]
    outputs = [value("y", FLOAT, None), value("top", FLOAT, None)]
    path = tmp_path / "model.onnx"
    path.write_bytes(make(nodes, [value("x", FLOAT, ["rows", 2])], outputs).SerializeToString())
    assert (read_rows(path).verdict, read_rows(path, outputs=["y"]).verdict) == ("mixed", "apart")


def test_a_sequence_of_tensors_is_no_rows(tmp_path: Path) -> None:
    assert "sequence of tensors" in read(tmp_path, sequence_output()).reason


def test_an_input_without_a_shape_has_rows_on_axis_0(tmp_path: Path) -> None:
    nodes = [node("Neg", ["x"], ["t"]), node("Mul", ["t", "two"], ["y"])]
    model = make(nodes, [value("x", FLOAT, None)], [value("y", FLOAT, None)], {"two": np.float32(2)})
    assert read(tmp_path, model).verdict == "apart"


def test_weights_that_are_inputs_too_are_constants(tmp_path: Path) -> None:
    inputs = [value("x", FLOAT, ["rows", 2]), value("w", FLOAT, [2, 3])]
    model = make([node("MatMul", ["x", "w"], ["y"])], inputs, [value("y", FLOAT, None)], {"w": floats(2, 3)}, 8, 3)
    assert read(tmp_path, model).verdict == "apart"


def test_turns_that_the_rows_decide_mix_what_they_change(tmp_path: Path) -> None:
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Add", ["state", "x"], ["next"])],
        "body",
        [value("turn", INT64, []), value("go", TensorProto.BOOL, []), value("state", FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("next", FLOAT, None)],
    )
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["turns"]),
        node("Loop", ["turns", "yes", "x"], ["y"], name="turner", body=body),
    ]
    reading = read(tmp_path, plain(nodes, {"yes": np.array(True), "zero": np.array(0)}))
    assert (reading.verdict, reading.reason) == ("mixed", "node 'turner' (Loop) takes its turns by the number of rows")


def test_integers_times_nothing_are_nothing_whatever_they_depend_on(tmp_path: Path) -> None:
    assert read(tmp_path, lasting()).verdict == "apart"


def test_floats_times_nothing_may_be_no_number(tmp_path: Path) -> None:
    times = [node("ReduceMax", ["x"], ["top"], keepdims=0), node("Mul", ["top", "zero"], ["t"])]
    nodes = [*times, node("Add", ["x", "t"], ["y"])]
    assert read(tmp_path, plain(nodes, {"zero": np.float32(0)})).verdict == "mixed"
