"""Models in ONNX, run by ONNX Runtime on the CPU."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from inferqueue_core.datatypes import Array, Datatype, from_onnx
from inferqueue_core.models import TensorSpec
from inferqueue_worker.classes import find_classifier
from inferqueue_worker.errors import (
    BadInputError,
    ModelLoadError,
    PredictionError,
    RunStoppedError,
    TransientError,
)
from inferqueue_worker.execution_options import check_providers, providers, session_options
from inferqueue_worker.graph import RowReading, read_rows, why_fixed
from inferqueue_worker.labels import read_labels
from inferqueue_worker.model_content import Buffer, Loadable, check_whole, loadable
from inferqueue_worker.ort import onnxruntime as ort
from inferqueue_worker.predictor import ModelSignature, Output, RunControl
from inferqueue_worker.repository import ModelFiles
from inferqueue_worker.shapes import without_shape

_ERRORS_ONLY = 3
# Where in ONNX Runtime an error arose: nothing that a user could use.
_ORIGIN = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed: ?)?|/onnxruntime_src/\S+:\d+ .*?\) (?=\S)"
)
# `domain:Operator(version)`, as ONNX Runtime names an operator of which it knows nothing.
_UNKNOWN_OPERATOR = re.compile(r"(?P<domain>[\w.]+):(?P<operator>\w+)\(-?\d+\) is not a registered function/op")
_EXTENSION_DOMAINS = ("ai.onnx.contrib", "com.microsoft.extensions")
_MAP = re.compile(r"map\((int64|string),(.+)\)")


class OnnxPredictor:
    """An ONNX model in one session that all runners share; each run uses `intra_op_threads` threads.

    In a `rehearsal`, which answers nobody, its weights may stay mapped.
    """

    def __init__(self, files: ModelFiles, intra_op_threads: int, *, rehearsal: bool = False) -> None:
        self._files = files
        self._threads = intra_op_threads
        self._rehearsal = rehearsal
        self._session: Any = None
        self._buffers: dict[str, Buffer] = {}  # in which the session finds its weights
        self._signature: ModelSignature | None = None

    def load(self) -> None:
        ort.set_default_logger_severity(_ERRORS_ONLY)
        check_whole(self._files.path)
        content = loadable(self._files.path, rehearsal=self._rehearsal)
        try:
            self._session = create_session(self._files, content, self._threads)
        finally:
            if content.in_place:
                self._buffers = content.buffers
            else:
                content.release()
        signature = read_signature(self._session.get_inputs(), self._session.get_outputs(), self._files)
        reading = _read_graph(signature, self._files)
        signature = replace(signature, reading=reading, constant_outputs=reading.constant_outputs)
        self._signature = _completed(signature, self._files)

    def metadata(self) -> ModelSignature:
        assert self._signature is not None, "load() comes first"
        return self._signature

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        options = ort.RunOptions()
        options.log_severity_level = 4

        def stop() -> None:
            options.terminate = True

        control.on_stop(stop)
        try:
            values = self._session.run(outputs, inputs, options)
        except Exception as error:
            raise _prediction_error(error, control) from error
        return dict(zip(outputs, values, strict=True))


def create_session(files: ModelFiles, content: Loadable, intra_op_threads: int) -> Any:
    """Give the session that runs a model as its model.yaml says; raise ModelLoadError when it cannot be made."""
    options, wanted = session_options(files, intra_op_threads), providers(files)
    if content.buffers:
        names, buffers = list(content.buffers), list(content.buffers.values())
        options.add_external_initializers_from_files_in_memory(names, buffers, [len(buffer) for buffer in buffers])
    if content.in_place:
        options.add_session_config_entry("session.use_external_initializer_file_buffers_directly", "1")
    try:
        # Without a second try on other providers than those asked for, which would write to the standard output.
        session = ort.InferenceSession(content.graph, sess_options=options, providers=wanted, enable_fallback=0)
    except Exception as error:
        raise ModelLoadError(f"cannot load {files.path}: {explain_load_error(str(error))}") from error
    check_providers(files, session.get_providers())
    return session


def _prediction_error(error: Exception, control: RunControl) -> PredictionError:
    text = _one_line(str(error))
    if control.reason is not None:
        return RunStoppedError(f"the run was stopped: {control.reason}")
    if isinstance(error, MemoryError) or "bad_alloc" in text or "Failed to allocate memory" in text:
        return TransientError(f"not enough memory for this run: {text}")
    if type(error).__name__ == "InvalidArgument" or isinstance(error, (ValueError, TypeError)):
        return BadInputError(f"the model refused the data: {text}")
    return PredictionError(f"the model failed: {text}")


def _one_line(text: str) -> str:
    line = _ORIGIN.sub("", " ".join(text.split()))[:500].rstrip(". ")
    return f"{line}." if line else "no reason given."


def explain_load_error(text: str) -> str:
    """Put ONNX Runtime's reason for not loading a model into one sentence with the way out."""
    line = _one_line(text)
    if "IR version" in text:
        return f"{line} Save the model with an older IR version (onnx.version_converter, or ir_version=10)."
    if "opset" in text and ("under development" in text or "till opset" in text or "guarantee" in text):
        return f"{line} Export the model with a lower target_opset."
    if "locale name not valid" in text:
        return f"{line} The model normalizes text and needs the locale en_US.UTF-8: install it (package `locales`)."
    if "Protobuf parsing failed" in text or "INVALID_PROTOBUF" in text or "No graph was found" in text:
        return f"{line} The file is damaged or is no ONNX model."
    if found := _UNKNOWN_OPERATOR.search(text):
        return f"{line} {_custom_operator(found['operator'], found['domain'])}"
    if any(sign in text for sign in ("No Op registered", "not a registered function/op", "find an implementation")):
        return f"{line} ONNX Runtime on the CPU has no such operator: export the model without it."
    if "external data" in text.lower() or "external_data" in text:
        return f"{line} The weights must lie beside the model file, inside its folder."
    return line


def _custom_operator(operator: str, domain: str) -> str:
    if domain in _EXTENSION_DOMAINS:
        return (
            f"{operator} is an operator of the package onnxruntime-extensions: install it in the worker's image and "
            "write `custom_ops: onnxruntime-extensions` into model.yaml."
        )
    return (
        f"{operator} is an operator of the domain {domain!r}, which ONNX Runtime does not have: write `custom_ops: "
        "<path of its library>` into model.yaml, or export the model without it."
    )


def _visible(outputs: Sequence[Any], files: ModelFiles) -> list[Any]:
    """Give the outputs that model.yaml does not hide; raise ModelLoadError for one to hide that is not there."""
    names, hidden = [node.name for node in outputs], files.config.hidden_output_names
    unknown = [name for name in hidden if name not in names]
    if unknown:
        raise ModelLoadError(
            f"{files.config_path}: hidden_outputs names {unknown[0]!r}; the model's outputs are {', '.join(names)}"
        )
    left = [node for node in outputs if node.name not in hidden]
    if hidden and not left:
        raise ModelLoadError(
            f"{files.config_path}: hidden_outputs hides all outputs ({', '.join(names)}); leave at least one"
        )
    return left


def read_signature(inputs: Sequence[Any], outputs: Sequence[Any], files: ModelFiles) -> ModelSignature:
    """Translate ONNX Runtime's inputs and outputs; raise ModelLoadError for those that no client could send or read."""
    input_specs = []
    for node in inputs:
        datatype = from_onnx(node.type)
        if datatype is None:
            raise ModelLoadError(
                f"{files.path}: input {node.name!r} is {node.type}, which the Open Inference Protocol cannot carry; "
                "export the model with tensors of bool, (u)int8-64, float16, float, double or string"
            )
        input_specs.append(TensorSpec(name=node.name, datatype=datatype, shape=_shape(node.shape)))
    outputs = _visible(outputs, files)
    output_specs, json_outputs = [], []
    for node in outputs:
        datatype = from_onnx(node.type)
        if datatype is not None:
            output_specs.append(TensorSpec(name=node.name, datatype=datatype, shape=_shape(node.shape)))
        elif json_can_hold(node.type):
            json_outputs.append(node.name)
            output_specs.append(TensorSpec(name=node.name, datatype=Datatype.BYTES, shape=(-1,)))
        else:
            raise ModelLoadError(
                f"{files.path}: output {node.name!r} is {node.type}, which neither the Open Inference Protocol nor "
                "JSON can carry; export the model without it"
            )
    why_not = _why_not_batchable(inputs, outputs, files)
    return ModelSignature(
        tuple(input_specs),
        tuple(output_specs),
        tuple(json_outputs),
        batchable=None if not why_not else False,
        why_not=why_not,
        platform="onnx_onnxv1",
        doubt=_doubt(inputs, outputs, files.config.batch_labels),
    )


def _read_graph(signature: ModelSignature, files: ModelFiles) -> RowReading:
    """Read what the graph says of rows; where an input has no room for more of them, without reading its nodes."""
    for spec in signature.inputs:
        if spec.shape[:1] not in ((), (-1,)):
            return RowReading("mixed", why_fixed(spec.name, spec.shape[0]))
    return read_rows(files.path, files.config.batch_labels, [spec.name for spec in signature.outputs])


def _completed(signature: ModelSignature, files: ModelFiles) -> ModelSignature:
    """Add what ONNX Runtime does not tell of a model: which shapes are left open, and the labels of a classifier."""
    specs = (*signature.inputs, *signature.outputs)
    if not all(spec.shape for spec in specs):
        open_shapes = without_shape(files.path)
        inputs, outputs = (
            tuple(replace(spec, any_shape=not spec.shape and spec.name in open_shapes) for spec in some)
            for some in (signature.inputs, signature.outputs)
        )
        signature = replace(signature, inputs=inputs, outputs=outputs)
    classifier = find_classifier(
        signature.outputs,
        signature.json_outputs,
        signature.constant_outputs,
        named=bool(files.config.classes),
    )
    if classifier is None:
        return signature
    return replace(signature, labels=read_labels(files.path, classifier.label, classifier.probabilities))


def json_can_hold(onnx_type: str) -> bool:
    """Tell whether values of an ONNX type, such as `seq(map(int64,tensor(float)))`, can be written as JSON."""
    if from_onnx(onnx_type) is not None:
        return True
    if onnx_type.startswith("seq(") and onnx_type.endswith(")"):
        return json_can_hold(onnx_type[len("seq(") : -1])
    found = _MAP.fullmatch(onnx_type)
    return found is not None and json_can_hold(found[2])


def _shape(dimensions: Sequence[Any]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) and size >= 0 else -1 for size in dimensions)


def _why_not_batchable(inputs: Sequence[Any], outputs: Sequence[Any], files: ModelFiles) -> str:
    """Say what in the model, beside its shapes, rules batches out; '' when nothing does."""
    labels = files.config.batch_labels
    first_names = _axis_names(inputs)
    strange = first_names - set(labels)
    if labels and strange:
        return f"its inputs name axis 0 {', '.join(sorted(strange))}, which batch_labels in model.yaml do not hold"
    if len(strange) > 1:
        return (
            f"its inputs name axis 0 differently: {', '.join(sorted(strange))}; "
            "where all of them are the batch, say so with batch_labels in model.yaml"
        )
    for node in outputs:
        if node.type.startswith("map("):
            return f"output {node.name!r} is one map for all rows"
    return ""


def _doubt(inputs: Sequence[Any], outputs: Sequence[Any], batch_labels: Collection[str]) -> str:
    """Say which output names its axis 0 otherwise than the inputs do, '' when none does.

    Exporters name axes anew on their way through a graph; but so does an operator that gives as many rows as it finds.
    """
    known = _axis_names(inputs) | set(batch_labels)
    names = ", ".join(sorted(known)) or "do not name theirs"
    for node in outputs:
        for name in _axis_names([node]) - known:
            return (
                f"output {node.name!r} names axis 0 {name!r}, its inputs {names}; "
                "where that is the batch as well, say so with batch_labels in model.yaml"
            )
    return ""


def _axis_names(nodes: Sequence[Any]) -> set[str]:
    return {node.shape[0] for node in nodes if node.shape and isinstance(node.shape[0], str)}
