"""What model.yaml asks of ONNX Runtime is done, and what is not there is named with the option."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.execution_options import check_providers, providers, session_options
from inferqueue_worker.predictor import RunControl
from inferqueue_worker.repository import ModelFiles
from support.onnx_models import FLOAT, STRING, doubling, make, store, value
from support.served import load

extensions = pytest.mark.skipif(find_spec("onnxruntime_extensions") is None, reason="needs onnxruntime-extensions")


def files(repository: Path, config: str) -> ModelFiles:
    return store(repository, doubling(), config=config)


def shouting(domain: str = "ai.onnx.contrib") -> ModelProto:
    """`y` is `x` in capital letters, by an operator of onnxruntime-extensions."""
    node = helper.make_node("StringUpper", ["x"], ["y"], domain=domain)
    model = make([node], [value("x", STRING, ["n"])], [value("y", STRING, ["n"])])
    model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def two_outputs() -> ModelProto:
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Cast", ["x"], ["z"], to=16)]
    return make(nodes, [value("x", FLOAT, ["n"])], [value("y", FLOAT, ["n"]), value("z", 16, ["n"])])


@pytest.mark.parametrize(
    ("config", "threads"),
    [
        ("", (3, 1, "ORT_SEQUENTIAL")),
        ("threads: 2", (2, 1, "ORT_SEQUENTIAL")),
        ("threads: {intra_op: 2}", (2, 1, "ORT_SEQUENTIAL")),
        ("threads: {inter_op: 4}", (3, 4, "ORT_PARALLEL")),
    ],
)
def test_threads_of_model_yaml_win_over_the_setting(tmp_path: Path, config: str, threads: tuple[int, int, str]) -> None:
    options = session_options(files(tmp_path, config), 3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads, options.execution_mode.name) == threads


@pytest.mark.parametrize(
    ("level", "name"),
    [
        ("disabled", "ORT_DISABLE_ALL"),
        ("basic", "ORT_ENABLE_BASIC"),
        ("extended", "ORT_ENABLE_EXTENDED"),
        ("layout", "ORT_ENABLE_LAYOUT"),
        ("all", "ORT_ENABLE_ALL"),
    ],
)
def test_the_level_of_optimisation(tmp_path: Path, level: str, name: str) -> None:
    options = session_options(files(tmp_path, f"graph_optimization: {level}"), 1)
    assert options.graph_optimization_level.name == name


def test_entries_for_the_session_are_texts(tmp_path: Path) -> None:
    config = "session_config: {session.set_denormal_as_zero: true, session.dynamic_block_base: 4}"
    options = session_options(files(tmp_path, config), 1)
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
    assert options.get_session_config_entry("session.dynamic_block_base") == "4"


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ("", ["CPUExecutionProvider"]),
        ("execution_providers: CPUExecutionProvider", [("CPUExecutionProvider", {})]),
        (
            "execution_providers: [{CPUExecutionProvider: {use_arena: false}}]",
            [("CPUExecutionProvider", {"use_arena": "0"})],
        ),
        (
            "execution_providers: {AzureExecutionProvider: , CPUExecutionProvider: {use_arena: 1}}",
            [("AzureExecutionProvider", {}), ("CPUExecutionProvider", {"use_arena": "1"})],
        ),
    ],
)
def test_providers_with_and_without_options(tmp_path: Path, config: str, wanted: list[Any]) -> None:
    assert providers(files(tmp_path, config)) == wanted


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            "execution_providers: [TpuExecutionProvider, CPUExecutionProvider]",
            "execution_providers names 'TpuExecutionProvider', which this build of ONNX Runtime lacks; it has .*"
            "CPUExecutionProvider",
        ),
        ("custom_ops: [lib/none.so]", r"custom_ops names 'lib/none.so', and there is no file .*/model/lib/none\.so"),
        ("custom_ops: model.yaml", "custom_ops names 'model.yaml', and .* is no library of operators that loads here"),
        ("hidden_outputs: [w]", "hidden_outputs names 'w'; the model's outputs are y"),
        ("hidden_outputs: [y]", r"hidden_outputs hides all outputs \(y\)"),
    ],
)
def test_what_is_not_there_is_named_with_the_option(tmp_path: Path, config: str, reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason) as refusal:
        load(tmp_path, doubling(), config=config)
    assert str(tmp_path / "model" / "model.yaml") in str(refusal.value)


def test_a_provider_that_does_not_start_is_no_reason_to_run_on_another(tmp_path: Path) -> None:
    asked = files(tmp_path, "execution_providers: [CUDAExecutionProvider, CPUExecutionProvider]")
    with pytest.raises(ModelLoadError, match="'CUDAExecutionProvider', which did not start on this machine"):
        check_providers(asked, ["CPUExecutionProvider"])
    check_providers(asked, ["CUDAExecutionProvider", "CPUExecutionProvider"])


@pytest.mark.parametrize("config", ["hidden_outputs: [z]", "hidden_outputs: z"])
def test_a_hidden_output_is_neither_published_nor_in_the_way(tmp_path: Path, config: str) -> None:
    model = load(tmp_path, two_outputs(), config=config)
    assert [spec.name for spec in model.info("predict_queue").outputs] == ["y"]


@extensions
@pytest.mark.parametrize("name", ["onnxruntime-extensions", "onnxruntime_extensions"])
def test_operators_of_the_extensions_by_name(tmp_path: Path, name: str) -> None:
    model = load(tmp_path, shouting(), config=f"custom_ops: {name}")
    answer = model.predictor.predict({"x": np.array(["straße"], object)}, ["y"], RunControl())
    assert list(answer["y"]) == ["STRAßE"]


@extensions
def test_operators_by_a_path_from_model_yaml(tmp_path: Path) -> None:
    from onnxruntime_extensions import get_library_path

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "operators.so").symlink_to(get_library_path())
    assert load(tmp_path, shouting(), config="custom_ops: [operators.so]").signature.outputs[0].name == "y"


def test_extensions_that_are_not_installed_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)
    with pytest.raises(ModelLoadError, match="'onnxruntime-extensions', which is not installed"):
        load(tmp_path, shouting(), config="custom_ops: onnxruntime-extensions")


@pytest.mark.parametrize(
    ("domain", "line"),
    [("ai.onnx.contrib", "custom_ops: onnxruntime-extensions"), ("com.acme", "custom_ops: <path of its library>")],
)
def test_an_unknown_operator_says_which_line_would_do_it(tmp_path: Path, domain: str, line: str) -> None:
    with pytest.raises(ModelLoadError, match=re.escape(f"write `{line}` into model.yaml")):
        load(tmp_path, shouting(domain))
