"""External data: tensors whose bytes lie in files beside the graph, read from and written into the graph's own bytes.

The package `onnx` is not imported: a worker needs nothing else of it, and it would double the time of a start. The
field numbers are those of onnx.proto; https://protobuf.dev/programming-guides/encoding/ describes the format.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

# Each tensor with external data names its file under this key, written as protobuf writes a first field of 8 bytes.
MARK = b"\n\x08location"

# Which fields of a message hold messages in which there may be tensors.
CHILDREN = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
_INITIALIZER = ("ModelProto", "GraphProto", "TensorProto")
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 8, 9, 13, 14
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1
# Bits of an element by its number in TensorProto.DataType; a text has no fixed size, and is never external.
_BITS = {
    **dict.fromkeys((22, 21, 23), 4),
    **dict.fromkeys((25, 26), 2),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    15: 128,
}


class ExternalTensor(Struct, frozen=True):
    """A tensor in a file: `location` as the graph names it, and the bytes from `offset` on, `length` of them.

    `initializer` tells those of the main graph from those of subgraphs, functions and attributes.
    """

    name: str
    location: str
    offset: int
    length: int
    initializer: bool


Embed = Callable[[ExternalTensor], bytes | memoryview | None]


class DamagedGraphError(ValueError):
    """The bytes are not those of a whole graph; the message says where they stop to make sense."""


def external_tensors(graph: bytes) -> tuple[ExternalTensor, ...]:
    """Return the tensors whose bytes lie in other files; raise DamagedGraphError."""
    found: list[ExternalTensor] = []
    embed(graph, found.append)  # what is appended is answered with None: the graph stays as it is
    return tuple(found)


def embed(graph: bytes, data: Embed) -> bytes:
    """Return the graph with the bytes that `data` gives for a tensor inside it; those of which it gives None stay out.

    Raises DamagedGraphError.
    """
    return bytes(_rewritten(memoryview(graph), ("ModelProto",), data))


def top_level_end(graph_length: int, read: Callable[[int, int], bytes]) -> int:
    """Return where the last field of a graph ends, beyond `graph_length` if bytes are missing.

    `read(start, count)` gives bytes of the graph. Raises DamagedGraphError for what is no protobuf.
    """
    position = 0
    while position < graph_length:
        head = memoryview(read(position, 20))
        key, at = _varint(head, 0)
        wire = key & 7
        if wire == _LENGTH:
            length, at = _varint(head, at)
            at += length
        elif wire == _VARINT:
            _, at = _varint(head, at)
        elif wire in (_FIXED32, _FIXED64):
            at += 4 if wire == _FIXED32 else 8
        else:
            raise DamagedGraphError(f"byte {position} begins no field")
        position += at
    return position


def _rewritten(message: memoryview, path: tuple[str, ...], data: Embed) -> memoryview | bytes:
    """Return a message with embedded tensors; the very same one where nothing changes, so that nothing is copied."""
    if path[-1] == "TensorProto":
        return _tensor(message, path == _INITIALIZER, data)
    children = CHILDREN[path[-1]]
    parts: list[memoryview | bytes] = []
    kept = 0
    for number, wire, start, begin, end in _fields(message):
        child = children.get(number) if wire == _LENGTH else None
        if child is None:
            continue
        old = message[begin:end]
        new = _rewritten(old, (*path, child), data)
        if new is not old:
            parts += [message[kept:start], _key(number, _LENGTH), _encoded(len(new)), new]
            kept = end
    return b"".join([*parts, message[kept:]]) if parts else message


def _tensor(message: memoryview, initializer: bool, data: Embed) -> memoryview | bytes:
    fields = list(_fields(message))
    if not any(field[0] == _DATA_LOCATION and _number(message, field) == _EXTERNAL for field in fields):
        return message
    tensor = _external(message, fields, initializer)
    content = data(tensor)
    if content is None:
        return message
    left_out = (_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION)
    kept = [message[start:end] for number, _, start, _, end in fields if number not in left_out]
    return b"".join([*kept, _key(_RAW_DATA, _LENGTH), _encoded(len(content)), content])


_Field = tuple[int, int, int, int, int]


def _external(message: memoryview, fields: list[_Field], initializer: bool) -> ExternalTensor:
    entries: dict[str, str] = {}
    name, data_type, elements = "", 0, 1
    for field in fields:
        number, wire, _, begin, end = field
        if number == _EXTERNAL_DATA:
            entry = {sub[0]: _text(message[begin:end][sub[3] : sub[4]]) for sub in _fields(message[begin:end])}
            entries[entry.get(1, "")] = entry.get(2, "")
        elif number == _NAME:
            name = _text(message[begin:end])
        elif number == _DATA_TYPE:
            data_type = _number(message, field)
        elif number == _DIMS:
            for size in _packed(message[begin:end]) if wire == _LENGTH else [_number(message, field)]:
                elements *= size
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or (elements * _BITS.get(data_type, 0) + 7) // 8)
    except ValueError:
        raise DamagedGraphError(f"tensor {name!r} has no usable place in its file: {entries}") from None
    if offset < 0 or length < 0:
        raise DamagedGraphError(f"tensor {name!r} has no usable place in its file: {entries}")
    return ExternalTensor(name, entries.get("location", ""), offset, length, initializer)


def _fields(message: memoryview) -> Iterator[_Field]:
    """Yield number, wire type, where the field starts, and where its value begins and ends."""
    position = 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        wire = key & 7
        if wire == _LENGTH:
            length, begin = _varint(message, position)
            end = begin + length
        elif wire == _VARINT:
            begin = position
            _, end = _varint(message, position)
        elif wire in (_FIXED32, _FIXED64):
            begin, end = position, position + (4 if wire == _FIXED32 else 8)
        else:
            raise DamagedGraphError(f"a field of {len(message)} bytes has the unknown wire type {wire}")
        if end > len(message):
            raise DamagedGraphError(f"a field announces {end - begin} bytes and {len(message) - begin} are left")
        yield key >> 3, wire, start, begin, end
        position = end


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise DamagedGraphError("a number does not end")


def _packed(message: memoryview) -> Iterator[int]:
    position = 0
    while position < len(message):
        value, position = _varint(message, position)
        yield value


def _number(message: memoryview, field: _Field) -> int:
    return _varint(message, field[3])[0]


def _text(message: memoryview) -> str:
    return bytes(message).decode(errors="replace")


def _key(number: int, wire: int) -> bytes:
    return _encoded(number << 3 | wire)


def _encoded(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
