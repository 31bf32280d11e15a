"""The labels of a classifier, as its ONNX graph lists them: labels are not indices.

What gives the label is followed back from the output: an operator that carries labels in its attributes, or a table of
labels from which the index of the largest probability picks.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from msgspec import Struct

from inferqueue_worker.graph.wire import Field, Message, Span, fields, floats, integers, text
from inferqueue_worker.predictor import Label

# Numbers of fields in onnx.proto.
_GRAPH_OF_MODEL = 7
_NODE_OF_GRAPH, _WEIGHTS_OF_GRAPH = 1, 5
_INPUT_OF_NODE, _OUTPUT_OF_NODE, _OPERATOR_OF_NODE, _ATTRIBUTE_OF_NODE = 1, 2, 4, 5
_NAME_OF_ATTRIBUTE = 1
_STRING = 8
_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 11: "<f8", 12: "<u4", 13: "<u8"}

_PASSING = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
_INDICES = ("ArgMax", "ArgMin", "TopK")
_CLASSIFIERS = ("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier", "ZipMap")
_CLASS_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_KEYS = ("keys_int64s", "keys_strings", "keys_tensor")
_VALUES = ("values_int64s", "values_strings", "values_tensor")
# Deeper than any converter wraps a label.
_MOST_STEPS = 50


def read_labels(path: Path, label: str, probabilities: str) -> tuple[Label, ...] | None:
    """Return the labels in the order of the probabilities: () where they are 0, 1, 2, …, None where it is not told.

    `label` and `probabilities` name the two outputs of the classifier.
    """
    try:
        with path.open("rb") as file:
            model = Span(file, 0, path.stat().st_size)
            graph = next((field for number, field in fields(model) if number == _GRAPH_OF_MODEL), b"")
            if isinstance(graph, int):
                return None
            tracer = _Tracer(graph)
            found = tracer.labels(label, _MOST_STEPS)
            return tracer.labels(probabilities, _MOST_STEPS) if found is None else found
    except (OSError, ValueError):  # ONNX Runtime, which has loaded it, reads more than we do
        return None


class _Node(Struct, frozen=True):
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[Message, ...]

    def values(self, names: Iterable[str]) -> tuple[Label, ...] | None:
        """Return the values of the first of these attributes that is there and not empty."""
        for name in names:
            for attribute in self.attributes:
                if _attribute_name(attribute) == name and (values := _attribute_values(attribute)):
                    return values
        return None


class _Tracer:
    def __init__(self, graph: Message) -> None:
        self._producers: dict[str, _Node] = {}
        self._weights: list[Message] = []
        for number, field in fields(graph):
            if isinstance(field, int):
                continue
            if number == _NODE_OF_GRAPH:
                node = _read_node(field)
                self._producers.update(dict.fromkeys(node.outputs, node))
            elif number == _WEIGHTS_OF_GRAPH:
                self._weights.append(field)

    def labels(self, name: str, steps: int) -> tuple[Label, ...] | None:
        """Return the labels that the value `name` may take; () for indices, None when that cannot be told."""
        node = self._producers.get(name)
        if node is None or steps == 0:
            return None
        if node.operator in _PASSING:
            return self.labels(node.inputs[0], steps - 1)
        if node.operator in _INDICES:
            return ()
        if node.operator in _CLASSIFIERS and name == node.outputs[0]:
            return node.values(_CLASS_LABELS)
        if node.operator in ("ArrayFeatureExtractor", "Gather") and self.labels(node.inputs[1], steps - 1) == ():
            return self._constant(node.inputs[0], steps - 1)
        if node.operator == "LabelEncoder":
            return _encoded(node, self.labels(node.inputs[0], steps - 1))
        return None

    def _constant(self, name: str, steps: int) -> tuple[Label, ...] | None:
        node = self._producers.get(name)
        if node is not None and node.operator == "Constant":
            return node.values(("value", "value_ints", "value_strings", "value_floats"))
        if node is not None:
            return self._constant(node.inputs[0], steps - 1) if node.operator in _PASSING and steps else None
        return next((_elements(weights) for weights in self._weights if _weights_name(weights) == name), None)


def _encoded(node: _Node, before: tuple[Label, ...] | None) -> tuple[Label, ...] | None:
    keys, values = node.values(_KEYS), node.values(_VALUES)
    if keys is None and values is None and before == ():
        return node.values(("classes_strings",))  # the form of ai.onnx.ml 1
    if before is None or keys is None or values is None or len(keys) != len(values):
        return None
    table = dict(zip(keys, values, strict=True))
    before = before or tuple(range(len(keys)))
    return tuple(table[key] for key in before) if table.keys() >= set(before) else None


def _read_node(source: Message) -> _Node:
    operator, inputs, outputs, attributes = "", [], [], []
    for number, field in fields(source):
        if number == _INPUT_OF_NODE:
            inputs.append(text(field))
        elif number == _OUTPUT_OF_NODE:
            outputs.append(text(field))
        elif number == _OPERATOR_OF_NODE:
            operator = text(field)
        elif number == _ATTRIBUTE_OF_NODE and not isinstance(field, int):
            attributes.append(field)
    return _Node(operator, tuple(inputs), tuple(outputs), tuple(attributes))


def _attribute_name(attribute: Message) -> str:
    return next((text(field) for number, field in fields(attribute) if number == _NAME_OF_ATTRIBUTE), "")


def _attribute_values(attribute: Message) -> tuple[Label, ...]:
    values: list[Label] = []
    for number, field in fields(attribute):
        if number == 5 and not isinstance(field, int):
            return _elements(field) or ()
        if number == 7:
            values += _whole(floats(field))
        elif number == 8:
            values += integers(field)
        elif number == 9:
            values.append(text(field))
    return tuple(values)


def _weights_name(weights: Message) -> str:
    return next((text(field) for number, field in fields(weights) if number == 8), "")


def _elements(weights: Message) -> tuple[Label, ...] | None:
    """Return the elements of a TensorProto of labels; None where they are stored elsewhere or are none."""
    kind, elements, raw = 0, list[Label](), b""
    for number, field in fields(weights):
        if number == 2 and isinstance(field, int):
            kind = field
        elif number == 4:
            elements += _whole(floats(field))
        elif number in (5, 7, 11):
            elements += integers(field)
        elif number == 6:
            elements.append(text(field))
        elif number == 9:
            raw = _bytes(field)
    if raw and kind in _DTYPES:
        elements = _whole(np.frombuffer(raw, _DTYPES[kind]).tolist())
    return tuple(elements) if elements and (kind in _DTYPES or kind == _STRING) else None


def _bytes(field: Field) -> bytes:
    if isinstance(field, Span):
        field.file.seek(field.start)
        return field.file.read(field.end - field.start)
    return field if isinstance(field, bytes) else b""


def _whole(numbers: Iterable[float]) -> list[Label]:
    """Return whole numbers as such; raise ValueError where one is none: it is no label."""
    found = list(numbers)
    if any(number % 1 for number in found):
        raise ValueError("a label is no whole number")
    return [int(number) for number in found]
