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


def zipmap_classifier() -> bytes:
    """A classifier of rows of 4 numbers, whose probabilities are a sequence of maps."""
    return _classifier(zipmap=True)


def array_classifier() -> bytes:
    """The same classifier with its probabilities as a tensor."""
    return _classifier(zipmap=False)


def _classifier(*, zipmap: bool) -> bytes:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(7)
    rows = random.normal(size=(60, 4)).astype(np.float32)
    model = LogisticRegression().fit(rows, (rows[:, 0] > 0).astype(np.int64) + (rows[:, 1] > 0))
    options = {id(model): {"zipmap": zipmap}}
    converted: onnx.ModelProto = to_onnx(model, rows[:1], options=options, target_opset=OPSET)
    return bytes(converted.SerializeToString())
