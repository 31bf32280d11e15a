"""Outputs become results: one JSON object for each row, or an envelope of tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from inferqueue_core.datatypes import Array
from inferqueue_core.json_tensors import json_values
from inferqueue_core.models import ModelInfo
from inferqueue_core.tensors import Envelope, Tensor, encode_envelope
from inferqueue_worker.batching import Batch, DecodedJob
from inferqueue_worker.classes import ClassifierOutputs, find_classifier
from inferqueue_worker.errors import ResultTooLargeError
from inferqueue_worker.predictor import Label, Output
from inferqueue_worker.result_sizes import DEFAULT_BYTES, check_json, check_size, check_values, most_json_bytes

Json = Any
# A result, or why there is none.
Result = bytes | ResultTooLargeError

# Values of so many numbers and more are written by orjson itself.
_LONG = 64
# The rows of a batch; only a job that was cut has more.
_PIECE_ROWS = 1024


def classifier_outputs(model: ModelInfo) -> ClassifierOutputs | None:
    """Find the outputs of a model whose results are those of a classifier; None for any other model."""
    if not model.batchable:
        return None
    return find_classifier(model.outputs, model.json_outputs, model.constant_outputs, named=bool(model.classes))


class ResultWriter:
    """Writes the results of one model, each of at most `max_bytes`."""

    def __init__(self, model: ModelInfo, max_bytes: int = DEFAULT_BYTES) -> None:
        self._model = model
        self.max_bytes = max_bytes
        self._by_row = model.batchable
        self._classifier = classifier_outputs(model)
        self._datatypes = {spec.name: spec.datatype for spec in model.outputs}
        self._constants = frozenset(model.constant_outputs)
        # Labels may be known where nobody has named them.
        labels = model.labels or range(len(model.classes))
        self._names: Mapping[Label, str] = dict(zip(labels, model.classes, strict=False))
        # Two classes of one name would become one key.
        self._keys = self._names if len(set(model.classes)) == len(model.classes) else {}

    def write(self, batch: Batch, outputs: Mapping[str, Output]) -> list[Result]:
        """Give the result of each job of a batch from the outputs of its run, an error for one that is too large."""
        if sum(map(most_json_bytes, outputs.values())) > self.max_bytes:
            return self._write_one_by_one(batch, outputs)
        total = sum(job.rows for job in batch)
        in_pieces = total > _PIECE_ROWS
        rows = self._rows(outputs, total) if not in_pieces and any(job.as_json for job in batch) else []
        results: list[Result] = []
        start = 0
        for job in batch:
            end = start + job.rows
            if not job.as_json:
                results.append(self._envelope(job, outputs, start, end))
            elif in_pieces:
                results.append(self._json(job, outputs, start, end))
            elif self._by_row and job.rows != 1:
                results.append(_text(rows[start:end]))
            else:
                results.append(_text(rows[start if self._by_row else 0]))
            start = end
        return results

    def _write_one_by_one(self, batch: Batch, outputs: Mapping[str, Output]) -> list[Result]:
        """Write what may be too large for itself, and measure it before."""
        results: list[Result] = []
        start = 0
        for job in batch:
            end = start + job.rows
            try:
                results.append(self._write_large(job, self._part(job, outputs, start, end)))
            except ResultTooLargeError as error:
                # Its traceback would hold on to the outputs, and they to it.
                results.append(error.with_traceback(None))
            start = end
        return results

    def _write_large(self, job: DecodedJob, outputs: Mapping[str, Output]) -> bytes:
        if job.as_json:
            check_json(outputs, self.max_bytes)
            result = self._json(job, outputs, 0, job.rows)
        else:
            check_values(outputs, self.max_bytes)
            result = self._envelope(job, outputs, 0, job.rows)
        check_size(len(result), self.max_bytes)
        return result

    def _json(self, job: DecodedJob, outputs: Mapping[str, Output], start: int, end: int) -> bytes:
        """Write a job's rows as JSON, some at a time: as Python's objects all of many rows take 20 times their text."""
        if not self._by_row:
            return _text(self._rows(outputs, 1)[0])
        texts = []
        for at in range(start, end, _PIECE_ROWS):
            until = min(at + _PIECE_ROWS, end)
            texts.append(_text(self._rows(self._part(job, outputs, at, until), until - at))[1:-1])
        if job.rows != 1:
            texts[0] = b"[" + texts[0]
            texts[-1] += b"]"
        return b",".join(texts)

    def _part(self, job: DecodedJob, outputs: Mapping[str, Output], start: int, end: int) -> dict[str, Output]:
        """Cut rows out of the outputs that a job asked for, and leave whole what has none."""
        return {name: self._cut(name, outputs[name], start, end) for name in job.outputs}

    def _cut(self, name: str, value: Output, start: int, end: int) -> Output:
        has_rows = self._by_row and name not in self._constants and not isinstance(value, dict)
        return value[start:end] if has_rows else value

    def _rows(self, outputs: Mapping[str, Output], count: int) -> list[Json]:
        """Give a value for each row; outputs without rows make a single one."""
        if not self._by_row:
            return [{name: _whole_json(value) for name, value in outputs.items()}]
        varying = {name: value for name, value in outputs.items() if name not in self._constants}
        constants = {name: value for name, value in outputs.items() if name in self._constants}
        if self._classifier is not None and _is_flat(varying[self._classifier.label]):
            rows = self._classified(varying, self._classifier)
            constants = {name: value for name, value in constants.items() if not self._lists_classes(value)}
        else:
            columns = [_row_json(value) for value in varying.values()]
            each = zip(*columns, strict=True) if columns else [()] * count
            rows = [dict(zip(varying, row, strict=True)) for row in each]
        if not constants:
            return rows
        shared = {name: _whole_json(value) for name, value in constants.items()}
        return [row | shared for row in rows]

    def _classified(self, outputs: Mapping[str, Output], names: ClassifierOutputs) -> list[dict[str, Json]]:
        probabilities = outputs[names.probabilities]
        return [
            {
                "prediction": label,
                "class_name": self._names.get(label, label if isinstance(label, str) else None),
                "probabilities": row,
            }
            for label, row in zip(
                to_json(outputs[names.label]),
                map(self._by_name, probabilities) if isinstance(probabilities, list) else _row_json(probabilities),
                strict=True,
            )
        ]

    def _by_name(self, probabilities: Any) -> Json:
        """Give the map of one row with the names of the classes as its keys; a list where labels are 0, 1, 2, …."""
        if not isinstance(probabilities, dict):
            return to_json(probabilities)
        if list(probabilities) == list(range(len(probabilities))):
            return to_json(list(probabilities.values()))
        return {self._keys.get(label, str(label)): to_json(value) for label, value in probabilities.items()}

    def _lists_classes(self, value: Output) -> bool:
        elements = tuple(value.tolist()) if isinstance(value, np.ndarray) and _is_flat(value) else None
        return elements is not None and elements in (
            self._model.classes,
            self._model.labels,
            tuple(range(len(elements))),
        )

    def _envelope(self, job: DecodedJob, outputs: Mapping[str, Output], start: int, end: int) -> bytes:
        tensors = []
        for name in job.outputs:
            value = self._cut(name, outputs[name], start, end)
            array = _json_texts(value) if name in self._model.json_outputs else np.asarray(value)
            tensors.append(Tensor(name, self._datatypes[name], array))
        return encode_envelope(Envelope(tuple(tensors)))


def _is_flat(value: Output) -> bool:
    # What a file gives no shape may have any.
    return isinstance(value, np.ndarray) and value.ndim == 1


def _text(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _json_texts(value: Output) -> Array:
    """Give a sequence or map as BYTES: one JSON text for each element of a sequence, one for a map."""
    elements: Sequence[Any] = value if isinstance(value, list) else [value]
    texts = np.empty(len(elements), dtype=object)
    texts[:] = [orjson.dumps(to_json(element)).decode() for element in elements]
    return texts


def _row_json(value: Output) -> Json:
    """Give an output as something whose elements are the rows in JSON."""
    if isinstance(value, np.ndarray) and value.ndim > 1 and value[:1].size >= _LONG:
        return _written_by_orjson(value)
    return to_json(value)


def _whole_json(value: Output) -> Json:
    if isinstance(value, np.ndarray) and value.size >= _LONG:
        return _written_by_orjson(value)
    return to_json(value)


def _written_by_orjson(array: Array) -> Json:
    """Give an array that orjson writes itself; as lists of Python's numbers it would take many times its memory."""
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        return json_values(array)
    return np.ascontiguousarray(array)


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
