"""A model's configuration as Triton writes it: what its tools and clients ask a model before they send it anything."""

from typing import Any

from inferqueue_core.datatypes import Datatype
from inferqueue_core.models import ModelInfo, TensorSpec

_PLATFORMS = {"onnx_onnxv1": ("onnxruntime_onnx", "onnxruntime")}
"""Platform of the Open Inference Protocol -> platform and backend of Triton; any other model is Python's."""


def takes_batches(model: ModelInfo) -> bool:
    """Tell whether Triton would say that it takes batches: rows are apart, and axis 0 of every tensor counts them."""
    specs = (*model.inputs, *model.outputs)
    counted = all(spec.shape and spec.shape[0] == -1 for spec in specs)
    return model.batchable and counted and not model.constant_outputs


def model_config(model: ModelInfo) -> dict[str, Any]:
    """Return the configuration of a model; where it takes batches, shapes are without axis 0, as Triton has it.

    What Triton would also say of its own scheduling is left out but for what clients read.
    """
    batches = takes_batches(model)
    platform, backend = _PLATFORMS.get(model.platform, ("", "python"))
    config: dict[str, Any] = {
        "name": model.name,
        "platform": platform,
        "backend": backend,
        "version_policy": {"specific": {"versions": [int(model.version)]}} if model.version.isdecimal() else {},
        "max_batch_size": model.max_rows if batches else 0,
        "input": [_tensor(spec, batches) | {"format": "FORMAT_NONE", "optional": False} for spec in model.inputs],
        "output": [_tensor(spec, batches) | {"label_filename": ""} for spec in model.outputs],
        "batch_input": [],
        "batch_output": [],
        "instance_group": [{"name": model.name, "kind": "KIND_CPU", "count": 1, "gpus": [], "profile": []}],
        "default_model_filename": "model.onnx" if backend == "onnxruntime" else "",
        "parameters": {},
        "model_warmup": [],
    }
    if batches:
        config["dynamic_batching"] = {"preferred_batch_size": [], "max_queue_delay_microseconds": 0}
    return config


def _tensor(spec: TensorSpec, batches: bool) -> dict[str, Any]:
    kind = "STRING" if spec.datatype is Datatype.BYTES else spec.datatype
    dims = list(spec.shape[1:] if batches else spec.shape)
    shown = {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": dims or [1]}
    # Triton knows no shape without dimensions: it writes one, and that it is taken away.
    return shown if dims else shown | {"reshape": {"shape": []}}
