"""Tensors as bytes: the Open Inference Protocol's binary form of one, and our envelope for several.

An envelope is what `job:{id}:data` and `job:{id}:result` hold when they are not JSON:

    b"\\x00IQ1"  u32 little-endian: length of the header  header (JSON)  tensors, each at a multiple of 16 bytes

The header is `{"tensors": [{"name", "datatype", "shape", "size"}], "outputs": [names] | null}`; the tensors follow in
its order in the protocol's binary form: little-endian, row-major; BOOL one byte; BYTES a u32 length before each.
The first byte cannot begin a JSON text, so readers tell the two apart by it.
"""

import struct
from math import prod
from typing import Annotated

import numpy as np
import orjson
from msgspec import Meta, Struct

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.errors import InvalidInputError
from inferqueue_core.wire import read_json

MAGIC = b"\x00IQ1"
_ALIGNMENT = 16
_LENGTH = struct.Struct("<I")

_Size = Annotated[int, Meta(ge=0)]


class Tensor(Struct, frozen=True):
    """A named array; BYTES arrays have dtype object and str elements."""

    name: str
    datatype: Datatype
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


class Envelope(Struct, frozen=True):
    """Tensors and, on the way in, the names of the outputs that are wanted (None: all)."""

    tensors: tuple[Tensor, ...]
    outputs: tuple[str, ...] | None = None


class _Entry(Struct, frozen=True):
    name: str
    datatype: Datatype
    shape: tuple[_Size, ...]
    size: _Size


class _Header(Struct, frozen=True):
    tensors: tuple[_Entry, ...]
    outputs: tuple[str, ...] | None


def is_envelope(data: bytes) -> bool:
    """Tell an envelope from a JSON text."""
    return data.startswith(MAGIC)


def tensor_bytes(tensor: Tensor) -> bytes:
    """Encode one tensor in the protocol's binary form."""
    if tensor.datatype is Datatype.BYTES:
        elements = [str(element).encode() for element in tensor.array.reshape(-1).tolist()]
        return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))
    return np.ascontiguousarray(tensor.array, dtype=tensor.datatype.dtype).tobytes()


def tensor_from_bytes(field: str, name: str, datatype: Datatype, shape: tuple[int, ...], data: memoryview) -> Tensor:
    """Decode one tensor from the protocol's binary form without copying numbers.

    Raises InvalidInputError, naming `field`, when the bytes do not make exactly this shape.
    """
    if datatype is Datatype.BYTES:
        elements = _split_elements(field, data)
        if len(elements) != prod(shape):
            raise InvalidInputError(
                field,
                f"tensor {name!r}: {len(elements)} elements in its bytes, shape {list(shape)} needs {prod(shape)}",
            )
        array = np.empty(len(elements), dtype=object)
        array[:] = elements
        return Tensor(name, datatype, reshaped(field, name, array, shape))
    dtype = datatype.dtype
    if len(data) != prod(shape) * dtype.itemsize:
        raise InvalidInputError(
            field,
            f"tensor {name!r}: {len(data)} bytes; {datatype} of {list(shape)} takes {prod(shape) * dtype.itemsize}",
        )
    numbers = np.frombuffer(data, dtype=dtype)
    if datatype is Datatype.BOOL:
        numbers = np.frombuffer(data, dtype=np.uint8) != 0  # any other byte would make a bool that is neither
    return Tensor(name, datatype, reshaped(field, name, numbers, shape))


def reshaped(field: str, name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """Give `array` in a shape of as many elements; raise InvalidInputError for one that no array can have."""
    try:
        if any(length < 0 for length in shape):
            raise ValueError("a dimension is negative")
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(field, f"tensor {name!r} cannot have shape {list(shape)}: {error}") from None


def _split_elements(field: str, data: memoryview) -> list[str]:
    elements: list[str] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise InvalidInputError(field, f"a BYTES tensor ends inside the length of element {len(elements)}")
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4 + length
        if at > len(data):
            raise InvalidInputError(
                field, f"element {len(elements)} of a BYTES tensor is said to be {length} bytes, fewer follow"
            )
        try:
            elements.append(str(data[at - length : at], "utf-8"))
        except UnicodeDecodeError:
            raise InvalidInputError(field, f"element {len(elements)} of a BYTES tensor is not UTF-8") from None
    return elements


def encode_envelope(envelope: Envelope) -> bytes:
    """Encode tensors for Redis."""
    bodies = [tensor_bytes(tensor) for tensor in envelope.tensors]
    entries = [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape), "size": len(body)}
        for tensor, body in zip(envelope.tensors, bodies, strict=True)
    ]
    header = orjson.dumps({"tensors": entries, "outputs": envelope.outputs})
    parts = [MAGIC, _LENGTH.pack(len(header)), header]
    length = len(MAGIC) + _LENGTH.size + len(header)
    for body in bodies:
        gap = -length % _ALIGNMENT
        parts += (bytes(gap), body)
        length += gap + len(body)
    return b"".join(parts)


def decode_envelope(data: bytes) -> Envelope:
    """Decode tensors from Redis; numbers are views into `data`. Raises InvalidInputError for anything else."""
    if not is_envelope(data):
        raise InvalidInputError("data", "this is no tensor envelope: it does not begin with its mark")
    try:
        (header_size,) = _LENGTH.unpack_from(data, len(MAGIC))
        at = len(MAGIC) + _LENGTH.size
        header = read_json(data[at : at + header_size], _Header)
    except (struct.error, ValueError) as error:
        raise InvalidInputError("data", f"the tensor envelope is damaged: {error}") from error
    at += header_size
    body = memoryview(data)
    tensors = []
    for entry in header.tensors:
        at += -at % _ALIGNMENT
        if at + entry.size > len(data):
            raise InvalidInputError("data", f"the tensor envelope is damaged: it ends inside tensor {entry.name!r}")
        part = body[at : at + entry.size]
        tensors.append(tensor_from_bytes("data", entry.name, entry.datatype, entry.shape, part))
        at += entry.size
    return Envelope(tuple(tensors), header.outputs)
