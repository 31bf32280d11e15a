"""Models whose weights lie in files beside them, and ways in which those files are replaced while they are served."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper, save_model
from onnx.external_data_helper import convert_model_to_external_data

from support.onnx_models import FLOAT, IR_VERSION, OPSET, value

# Enough of them not to be put into the graph.
WEIGHTS = 32_768


def adding(scale: float) -> ModelProto:
    """`y` is the first and the last of `x + w` with `w` all `scale`: they differ where weights are mixed."""
    return _model([helper.make_node("Add", ["x", "w"], ["sum"])], {"w": np.full((1, WEIGHTS), scale, np.float32)})


def branching(scale: float) -> ModelProto:
    """The same with its weights in a branch of an If, which holds them itself."""
    weights = numpy_helper.from_array(np.full((1, WEIGHTS), scale, np.float32), "w")
    result = value("t", FLOAT, ["n", WEIGHTS])
    then = helper.make_graph([helper.make_node("Add", ["x", "w"], ["t"])], "then", [], [result], [weights])
    otherwise = helper.make_graph([helper.make_node("Concat", ["x"], ["t"], axis=0)], "else", [], [result])
    node = helper.make_node("If", ["yes"], ["sum"], then_branch=then, else_branch=otherwise)
    return _model([node], {"yes": np.array(True)})


def constant(scale: float) -> ModelProto:
    """The same with its weights in the attribute of a Constant."""
    weights = numpy_helper.from_array(np.full((1, WEIGHTS), scale, np.float32), "w")
    nodes = [helper.make_node("Constant", [], ["w"], value=weights), helper.make_node("Add", ["x", "w"], ["sum"])]
    return _model(nodes, {})


def put(folder: Path, model: ModelProto, location: str = "weights.bin") -> Path:
    """Save `model.onnx` with its weights at `location` into a folder; return the path of the model."""
    folder.mkdir(parents=True, exist_ok=True)
    convert_model_to_external_data(model, location=location, size_threshold=64, convert_attribute=True)
    (folder / location).unlink(missing_ok=True)  # onnx would append to it
    save_model(model, folder / "model.onnx")
    return folder / "model.onnx"


def copy_over(source: Path, target: Path) -> None:
    """Copy the weights of one folder over those of another, into the very same file, as `cp` does."""
    shutil.copyfile(source / "weights.bin", target / "weights.bin")


def rename_over(source: Path, target: Path) -> None:
    """Put the weights of one folder in the place of another's by renaming a copy, as rsync does."""
    copy = target / ".weights.bin.new"
    shutil.copyfile(source / "weights.bin", copy)
    copy.rename(target / "weights.bin")


def relink(link: Path, target: str) -> None:
    """Let a link lead elsewhere from one moment to the next, as the kubelet does with `..data`."""
    new = link.with_name(f"{link.name}_tmp")
    new.symlink_to(target)
    new.rename(link)


def as_volume(folder: Path, *datas: tuple[str, ModelProto]) -> None:
    """Lay out a folder as the kubelet does for a ConfigMap: links to `..data`, a link to the first of `datas`."""
    for name, model in datas:
        put(folder / name, model)
    (folder / "..data").symlink_to(datas[0][0])
    for name in ("model.onnx", "weights.bin"):
        (folder / name).symlink_to(f"..data/{name}")


def _model(nodes: Sequence[NodeProto], constants: dict[str, Any]) -> ModelProto:
    ends = [value("x", FLOAT, ["n", 1])], [value("y", FLOAT, ["n", 2])]
    constants = constants | {"ends": np.array([0, WEIGHTS - 1])}
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    nodes = [*nodes, helper.make_node("Gather", ["sum", "ends"], ["y"], axis=1)]
    graph = helper.make_graph(nodes, "test", *ends, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
