"""An ONNX file's graph, nodes and the heads of its weights, as onnx.proto lays them out."""

from collections.abc import Iterator
from functools import cached_property
from math import prod
from typing import Any, BinaryIO

import numpy as np
from msgspec import Struct

from inferqueue_worker.graph.wire import Field, Message, Span, fields, floats, integers, signed, text

# Shapes, axes, pads and tables of indices have few elements; what has more is weights.
MOST_ELEMENTS = 256
_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
_DTYPES |= {12: "<u4", 13: "<u8"}
_STRING = 8


class Weights(Struct, frozen=True):
    """A stored tensor: its size, and its elements in row-major order where they are few."""

    name: str
    dims: tuple[int, ...]
    elements: tuple[Any, ...] | None


class Declared(Struct, frozen=True):
    """A declared input or output: `dims` are sizes, names or None; None where nothing or no tensor is declared."""

    name: str
    dims: tuple[int | str | None, ...] | None


class Attribute(Struct, frozen=True):
    """An attribute: numbers, bytes, or the message of a tensor or a graph. `refers_to` names one of a function's."""

    value: Any
    refers_to: str = ""


class Node(Struct, frozen=True):
    """One use of an operator."""

    name: str
    operator: str
    domain: str
    overload: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Message]


class Graph(Struct, frozen=True):
    """A graph, or a function's body, which has opsets and defaults for its attributes of its own."""

    nodes: tuple[Node, ...]
    weights: tuple[Weights, ...]
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]
    opsets: dict[str, int]
    defaults: dict[str, Message]


class Model:
    """A model in an open file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.opsets: dict[str, int] = {}
        self._graph: Message = b""
        self._functions: list[Message] = []
        for number, field in fields(Span(file, 0, size)):
            if number == 7:
                self._graph = message(field)
            elif number == 8:
                domain, version = _opset(message(field))
                self.opsets[domain] = version
            elif number == 25:
                self._functions.append(message(field))

    @cached_property
    def graph(self) -> Graph:
        return read_graph(self._graph)

    @cached_property
    def functions(self) -> dict[tuple[str, str, str], Graph]:
        """The functions of the model by domain, name and overload."""
        return dict(map(_read_function, self._functions))


def message(field: Field) -> Message:
    """Return a field that is a message; raise ValueError where it is a number."""
    if isinstance(field, int):
        # Every fault of a file is a ValueError: it is not the caller who passed a wrong type.
        raise ValueError("a number stands where a message belongs")  # noqa: TRY004
    return field


def read_graph(source: Message) -> Graph:
    nodes, weights, inputs, outputs = [], [], [], []
    for number, field in fields(source):
        if number == 1:
            nodes.append(_read_node(message(field)))
        elif number == 5:
            weights.append(read_weights(message(field)))
        elif number == 11:
            inputs.append(_read_declared(message(field)))
        elif number == 12:
            outputs.append(_read_declared(message(field)))
        elif number == 15:
            weights.append(_read_sparse(message(field)))
    return Graph(tuple(nodes), tuple(weights), tuple(inputs), tuple(outputs), {}, {})


def _read_function(source: Message) -> tuple[tuple[str, str, str], Graph]:
    name = domain = overload = ""
    nodes, inputs, outputs = [], [], []
    opsets: dict[str, int] = {}
    attributes: dict[str, Message] = {}
    for number, field in fields(source):
        if number == 1:
            name = text(field)
        elif number == 4:
            inputs.append(Declared(text(field), None))
        elif number == 5:
            outputs.append(Declared(text(field), None))
        elif number == 7:
            nodes.append(_read_node(message(field)))
        elif number == 9:
            opsets.update([_opset(message(field))])
        elif number == 10:
            domain = text(field)
        elif number == 11:
            attributes[_attribute_name(message(field))] = message(field)
        elif number == 13:
            overload = text(field)
    return (domain, name, overload), Graph(tuple(nodes), (), tuple(inputs), tuple(outputs), opsets, attributes)


def _opset(source: Message) -> tuple[str, int]:
    domain, version = "", 1
    for number, field in fields(source):
        if number == 1:
            domain = text(field)
        elif number == 2 and isinstance(field, int):
            version = field
    return domain, version


def _read_node(source: Message) -> Node:
    name = operator = domain = overload = ""
    inputs, outputs = [], []
    attributes: dict[str, Message] = {}
    for number, field in fields(source):
        if number == 1:
            inputs.append(text(field))
        elif number == 2:
            outputs.append(text(field))
        elif number == 3:
            name = text(field)
        elif number == 4:
            operator = text(field)
        elif number == 5:
            attributes[_attribute_name(message(field))] = message(field)
        elif number == 7:
            domain = text(field)
        elif number == 8:
            overload = text(field)
    return Node(name, operator, domain, overload, tuple(inputs), tuple(outputs), attributes)


# The attribute's types whose value may be left out of the file when it is nothing.
_EMPTY = {1: 0.0, 2: 0, 3: b"", 6: (), 7: (), 8: ()}


def _attribute_name(source: Message) -> str:
    """Return an attribute's name alone: the rest of it may be the million nodes of a forest."""
    return next((text(field) for number, field in fields(source) if number == 1), "")


def read_attribute(source: Message) -> Attribute:
    refers_to = ""
    value: Any = None
    several: list[Any] = []
    kind = 0
    for number, field in fields(source):
        if number == 2:
            value = floats(field)[0]
        elif number == 3 and isinstance(field, int):
            value = signed(field)
        elif number in (4, 5, 6, 22):
            value = field
        elif number == 7:
            several += floats(field)
        elif number == 8:
            several += integers(field)
        elif number in (9, 10, 11):
            several.append(field)
        elif number == 20 and isinstance(field, int):
            kind = field
        elif number == 21:
            refers_to = text(field)
    if several:
        value = tuple(several)
    return Attribute(_EMPTY.get(kind) if value is None else value, refers_to)


def read_weights(source: Message) -> Weights:
    """Read the head of a TensorProto, and its elements where they are few and stored beside it."""
    dims: list[int] = []
    kind, name, outside = 0, "", False
    parts: list[tuple[int, Field]] = []
    for number, field in fields(source):
        if number == 1:
            dims += integers(field)
        elif number == 2 and isinstance(field, int):
            kind = field
        elif number == 8:
            name = text(field)
        elif number == 14:
            outside = bool(field)
        elif number in (4, 5, 6, 7, 9, 10, 11):
            parts.append((number, field))
    known = not outside and prod(dims) <= MOST_ELEMENTS
    return Weights(name, tuple(dims), _elements(kind, parts, prod(dims)) if known else None)


def _elements(kind: int, parts: list[tuple[int, Field]], count: int) -> tuple[Any, ...] | None:
    elements: list[Any] = []
    for number, field in parts:
        if number == 6:
            elements.append(field)
        elif number == 4:
            elements += floats(field)
        elif number in (5, 7, 11):
            elements += [bool(element) if kind == 9 else element for element in integers(field)]
        elif isinstance(field, bytes) and number in (9, 10):
            dtype = _DTYPES.get(kind) if number == 9 else "<f8"
            elements += [] if dtype is None else np.frombuffer(field, dtype).tolist()
    # float16 in int32_data are bits, not numbers.
    readable = (kind in _DTYPES and not (kind == 10 and any(number == 5 for number, _ in parts))) or kind == _STRING
    return tuple(elements) if readable and len(elements) == count else None


def _read_sparse(source: Message) -> Weights:
    dims: list[int] = []
    name = ""
    for number, field in fields(source):
        if number == 1:
            name = read_weights(message(field)).name
        elif number == 3:
            dims += integers(field)
    return Weights(name, tuple(dims), None)


def _read_declared(source: Message) -> Declared:
    name = ""
    dims: tuple[int | str | None, ...] | None = None
    for number, field in fields(source):
        if number == 1:
            name = text(field)
        elif number == 2:
            for shape in _under(message(field), 1, 2):
                dims = tuple(_read_dim(dim) for dim in _under(shape, 1))
    return Declared(name, dims)


def _under(source: Message, *path: int) -> Iterator[Message]:
    if not path:
        yield source
        return
    for number, field in fields(source):
        if number == path[0]:
            yield from _under(message(field), *path[1:])


def _read_dim(source: Message) -> int | str | None:
    for number, field in fields(source):
        if number == 1 and isinstance(field, int):
            return signed(field)
        if number == 2:
            return text(field) or None
    return None
