"""Protocol Buffers' wire format, read lazily from a file: large fields are passed over, never loaded.

Weights make nearly all of a model's file, and reading it must cost a start next to nothing. The file is read with seeks
instead of a memory map, because a map of a file that shrinks ends the process.
"""

from collections.abc import Iterator
from struct import unpack_from
from typing import BinaryIO

from msgspec import Struct

# What is longer stays in the file until somebody asks for its fields: nodes are shorter, weights of note are longer.
LOADED_BYTES = 65_536


class Span(Struct, frozen=True):
    """A long field that was left in its file, from `start` up to `end`."""

    file: BinaryIO
    start: int
    end: int


Message = bytes | Span
Field = int | bytes | Span


def fields(message: Message) -> Iterator[tuple[int, Field]]:
    """Return a message's fields in order as number and value; raise ValueError where it is no message.

    Values are the ints of varints, the bytes of other short fields, and Spans.
    """
    return _loaded_fields(message) if isinstance(message, bytes) else _stored_fields(message)


def _loaded_fields(data: bytes) -> Iterator[tuple[int, Field]]:
    at, end = 0, len(data)
    try:
        while at < end:
            key = data[at]
            at += 1
            if key > 127:
                key, at = _varint(data, at - 1)
            kind = key & 7
            if kind == 2:
                length = data[at]
                at += 1
                if length > 127:
                    length, at = _varint(data, at - 1)
                if length > end - at:
                    raise ValueError("a field is longer than what holds it")
                yield key >> 3, data[at : at + length]
                at += length
            elif kind == 0:
                number, at = _varint(data, at)
                yield key >> 3, number
            else:
                length = _fixed_length(kind)
                yield key >> 3, data[at : at + length]
                at += length
    except IndexError:
        raise ValueError("a field has no end") from None


def _stored_fields(span: Span) -> Iterator[tuple[int, Field]]:
    file, at, end = span.file, span.start, span.end
    while at < end:
        file.seek(at)
        head = file.read(20)
        try:
            key, used = _varint(head, 0)
            kind = key & 7
            length = _fixed_length(kind) if kind in (1, 5) else 0
            if kind not in (1, 5):
                if kind not in (0, 2):
                    raise ValueError(f"wire type {kind} is none of ONNX's")
                length, used = _varint(head, used)
        except IndexError:
            raise ValueError("the file ends within a field") from None
        at += used
        if kind == 0:
            yield key >> 3, length
            continue
        if length > end - at:
            raise ValueError("a field is longer than what holds it")
        if length > LOADED_BYTES:
            yield key >> 3, Span(file, at, at + length)
        else:
            file.seek(at)
            yield key >> 3, file.read(length)
        at += length


def _fixed_length(kind: int) -> int:
    if kind == 1:
        return 8
    if kind == 5:
        return 4
    raise ValueError(f"wire type {kind} is none of ONNX's")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number has too many bytes")


def signed(number: int) -> int:
    """Return the int64 that a varint stands for."""
    return number - (1 << 64) if number >> 63 else number


def integers(field: Field) -> list[int]:
    """Return the int64s of a repeated field's entry, which is one number or several packed."""
    if isinstance(field, int):
        return [signed(field)]
    numbers, at = [], 0
    if isinstance(field, bytes):
        while at < len(field):
            number, at = _varint(field, at)
            numbers.append(signed(number))
    return numbers


def floats(field: Field) -> list[float]:
    """Return the float32s of a repeated field's entry, which is one number or several packed."""
    if not isinstance(field, bytes):
        return []
    return list(unpack_from(f"<{len(field) // 4}f", field))


def text(field: Field) -> str:
    """Return a string field's text."""
    return field.decode(errors="replace") if isinstance(field, bytes) else ""
