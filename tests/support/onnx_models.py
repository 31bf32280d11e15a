"""Small ONNX models, each with one property that a test needs, in the layout of a model repository."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from inferqueue_worker.repository import ModelFiles, find_model

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
Shape = Sequence[int | str | None]

# New onnx packages write formats by default that ONNX Runtime does not take yet.
OPSET, IR_VERSION = 17, 8

value = helper.make_tensor_value_info


def make(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: dict[str, Any] | None = None,
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
) -> ModelProto:
    """Make a model of these nodes; `constants` are arrays by name."""
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def store(
    repository: Path, model: ModelProto | bytes, name: str = "model", config: str = "", version: str = "1"
) -> ModelFiles:
    """Put a version of a model, and a model.yaml with this text, into a repository."""
    folder = repository / name / version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    if config:
        (folder.parent / "model.yaml").write_text(config)
    return find_model(repository, name, version)


def unary(operator: str, shape: Shape = ("rows", 2), kind: int = FLOAT, **attributes: Any) -> ModelProto:
    """`y = operator(x)`, both of one shape and type."""
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    return make([node], [value("x", kind, shape)], [value("y", kind, shape)])


def doubling(shape: Shape = ("rows", 2)) -> ModelProto:
    """`y = x + x`: every row by itself."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    return make([node], [value("x", FLOAT, shape)], [value("y", FLOAT, shape)])


def scaling(factor: float, columns: int = 1) -> ModelProto:
    """`y = factor · x`, rows of so many columns: every row by itself."""
    node, shape = helper.make_node("Mul", ["x", "factor"], ["y"]), ("rows", columns)
    return make([node], [value("x", FLOAT, shape)], [value("y", FLOAT, shape)], {"factor": np.float32(factor)})


def lookup(length: int = 4) -> ModelProto:
    """`y = table[x]` with table 0, 10, 20, …: a run fails when any of its rows is out of range."""
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    table = np.arange(length, dtype=np.float32) * 10
    return make([node], [value("x", INT64, ["rows"])], [value("y", FLOAT, ["rows"])], {"table": table})


def lasting() -> ModelProto:
    """`y = x`, after as many turns of a loop as the largest element of `x` says: some 100,000 a second."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "one"], ["next_sum"]),
        ],
        "body",
        [value("turn", INT64, []), value("go", TensorProto.BOOL, []), value("sum", INT64, [])],
        [value("go_on", TensorProto.BOOL, []), value("next_sum", INT64, [])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["turns"], keepdims=0),
        helper.make_node("Loop", ["turns", "yes", "zero"], ["count"], body=body),
        helper.make_node("Mul", ["count", "zero"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    constants = {"yes": np.array(True), "zero": np.array(0, np.int64), "one": np.array(1, np.int64)}
    shape = ["rows"]
    return make(nodes, [value("x", INT64, shape)], [value("y", INT64, shape)], constants)


def sequence_output() -> ModelProto:
    """`y` is a sequence of two tensors."""
    node = helper.make_node("SequenceConstruct", ["x", "x"], ["y"])
    output = helper.make_tensor_sequence_value_info("y", FLOAT, ["rows", 2])
    return make([node], [value("x", FLOAT, ["rows", 2])], [output])


def filling() -> ModelProto:
    """`y` has as many elements, all 1.5, as `n` says: a small request with a large answer."""
    node = helper.make_node("ConstantOfShape", ["n"], ["y"], value=helper.make_tensor("v", FLOAT, [1], [1.5]))
    return make([node], [value("n", INT64, [1])], [value("y", FLOAT, [None])])


def widening() -> ModelProto:
    """`y` has 500 times the one number of each row of `x`: every row by itself."""
    node = helper.make_node("Tile", ["x", "times"], ["y"])
    return make(
        [node], [value("x", FLOAT, ["rows", 1])], [value("y", FLOAT, ["rows", 500])], {"times": np.array([1, 500])}
    )


def without_shapes(operator: str = "Neg") -> ModelProto:
    """`y = operator(x)`, and the file says nothing of a shape of either."""
    ends = [ValueInfoProto(name=name) for name in ("x", "y")]
    for end in ends:
        end.type.tensor_type.elem_type = FLOAT
    return make([helper.make_node(operator, ["x"], ["y"])], ends[:1], ends[1:])


def growing_cache() -> ModelProto:
    """A decoder's step: `present` is `past` [batch, 2, past, 4] with a place more at its end, filled with `token`."""
    nodes = [
        helper.make_node("Reshape", ["token", "place"], ["one"]),
        helper.make_node("Expand", ["one", "size"], ["new"]),
        helper.make_node("Concat", ["past", "new"], ["present"], axis=2),
    ]
    constants = {"place": np.array([-1, 1, 1, 1]), "size": np.array([1, 2, 1, 4])}
    ends = [value("token", FLOAT, ["batch"]), value("past", FLOAT, ["batch", 2, "past", 4])]
    return make(nodes, ends, [value("present", FLOAT, ["batch", 2, "total", 4])], constants)


def zipmap_classifier(labels: Sequence[Any] = (0, 1, 2)) -> bytes:
    """A classifier of rows of 4 numbers, whose probabilities are a sequence of maps."""
    return _classifier(labels, zipmap=True)


def array_classifier(labels: Sequence[Any] = (0, 1, 2), **options: Any) -> bytes:
    """The same classifier with its probabilities as a tensor; `options` are those of sklearn-onnx."""
    return _classifier(labels, zipmap=False, **options)


def _classifier(labels: Sequence[Any], **options: Any) -> bytes:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(7)
    rows = random.normal(size=(60, 4)).astype(np.float32)
    model = LogisticRegression().fit(rows, np.array(labels)[(rows[:, 0] > 0).astype(int) + (rows[:, 1] > 0)])
    converted: onnx.ModelProto = to_onnx(model, rows[:1], options={id(model): options}, target_opset=OPSET)
    return bytes(converted.SerializeToString())
