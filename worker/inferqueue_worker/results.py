"""Outputs become results: one JSON object for each row, or an envelope of tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from msgspec import Struct

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.json_tensors import json_values
from inferqueue_core.models import ModelInfo
from inferqueue_core.tensors import Envelope, Tensor, encode_envelope
from inferqueue_worker.batching import Batch, DecodedJob
from inferqueue_worker.predictor import Output

Json = Any

# What sklearn-onnx and other converters call a classifier's two outputs.
_LABELS = {"label", "output_label"}
_PROBABILITIES = {"probabilities", "output_probability", "probability", "scores"}


class ClassifierOutputs(Struct, frozen=True):
    """The names of a classifier's two outputs."""

    label: str
    probabilities: str


def classifier_outputs(model: ModelInfo) -> ClassifierOutputs | None:
    """Find the outputs of a classifier: a label and probabilities, by name, or by shape when it declares classes."""
    if not model.batchable or len(model.outputs) != 2:
        return None
    label, probabilities = model.outputs
    named = label.name in _LABELS and probabilities.name in _PROBABILITIES
    if not named and not model.classes:
        return None
    if label.datatype not in (Datatype.INT64, Datatype.BYTES) or len(label.shape) != 1:
        return None
    if not (
        (probabilities.datatype.is_float and len(probabilities.shape) == 2) or probabilities.name in model.json_outputs
    ):
        return None
    return ClassifierOutputs(label.name, probabilities.name)


class ResultWriter:
    """Writes the results of one model."""

    def __init__(self, model: ModelInfo) -> None:
        self._model = model
        self._classifier = classifier_outputs(model)
        self._datatypes = {spec.name: spec.datatype for spec in model.outputs}

    def write(self, batch: Batch, outputs: Mapping[str, Output]) -> list[bytes]:
        """Give the result of each job of a batch from the outputs of its run."""
        rows = self._rows(outputs) if self._model.batchable and any(job.as_json for job in batch) else []
        results, start = [], 0
        for job in batch:
            end = start + job.rows
            if not job.as_json:
                results.append(self._envelope(job, outputs, start, end))
            elif self._model.batchable:
                results.append(orjson.dumps(rows[start] if end - start == 1 else rows[start:end]))
            else:
                results.append(orjson.dumps({name: to_json(value) for name, value in outputs.items()}))
            start = end
        return results

    def _rows(self, outputs: Mapping[str, Output]) -> list[Json]:
        if self._classifier is not None:
            return self._classified(outputs, self._classifier)
        names = tuple(outputs)
        columns = [to_json(value) for value in outputs.values()]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _classified(self, outputs: Mapping[str, Output], names: ClassifierOutputs) -> list[Json]:
        labels = to_json(outputs[names.label])
        probabilities = to_json(outputs[names.probabilities])
        return [
            {
                "prediction": label,
                "class_name": self._class_name(label),
                "probabilities": list(row.values()) if isinstance(row, dict) else row,
            }
            for label, row in zip(labels, probabilities, strict=True)
        ]

    def _class_name(self, label: int | str) -> str | None:
        if isinstance(label, str):
            return label
        return self._model.classes[label] if 0 <= label < len(self._model.classes) else None

    def _envelope(self, job: DecodedJob, outputs: Mapping[str, Output], start: int, end: int) -> bytes:
        tensors = []
        for name in job.outputs:
            value = outputs[name]
            part = value[start:end] if self._model.batchable and not isinstance(value, dict) else value
            array = _json_texts(part) if name in self._model.json_outputs else np.asarray(part)
            tensors.append(Tensor(name, self._datatypes[name], array))
        return encode_envelope(Envelope(tuple(tensors)))


def _json_texts(value: Output) -> Array:
    """Give a sequence or map as BYTES: one JSON text for each element of a sequence, one for a map."""
    elements: Sequence[Any] = value if isinstance(value, list) else [value]
    texts = np.empty(len(elements), dtype=object)
    texts[:] = [orjson.dumps(to_json(element)).decode() for element in elements]
    return texts


def to_json(value: Any) -> Json:
    """Give an output as JSON: arrays as nested lists, maps as objects with string keys."""
    if isinstance(value, dict):
        return {str(key): to_json(element) for key, element in value.items()}
    if isinstance(value, list):
        return [to_json(element) for element in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return json_values(np.asarray(value))
    if isinstance(value, float):
        return json_values(np.asarray(value, dtype=np.float32))
    return value
