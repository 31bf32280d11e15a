"""The binary form of tensors and the envelope: round trips, and every damage is named."""

import contextlib
import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.datatypes import Datatype
from inferqueue_core.errors import InvalidInputError
from inferqueue_core.tensors import (
    MAGIC,
    Envelope,
    Tensor,
    decode_envelope,
    encode_envelope,
    is_envelope,
    tensor_bytes,
    tensor_from_bytes,
)
from support.tensor_strategies import arrays, same

tensors = st.sampled_from(list(Datatype)).flatmap(
    lambda datatype: st.builds(Tensor, st.text(max_size=5), st.just(datatype), arrays(datatype))
)
envelopes = st.builds(
    Envelope,
    st.lists(tensors, max_size=3).map(tuple),
    st.none() | st.lists(st.text(max_size=5), max_size=3).map(tuple),
)


def handmade(entries: Any, body: bytes = b"", outputs: Any = None) -> bytes:
    """Write an envelope whose header says whatever is asked for."""
    header = orjson.dumps({"tensors": entries, "outputs": outputs})
    start = MAGIC + struct.pack("<I", len(header)) + header
    return start + bytes(-len(start) % 16) + body


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [2], "size": 8} | changes


@given(envelopes)
def test_an_envelope_comes_back_as_it_was(envelope: Envelope) -> None:
    data = encode_envelope(envelope)
    assert is_envelope(data)
    back = decode_envelope(data)
    assert back.outputs == envelope.outputs
    assert [(tensor.name, tensor.datatype) for tensor in back.tensors] == [
        (tensor.name, tensor.datatype) for tensor in envelope.tensors
    ]
    assert all(same(one.array, other.array) for one, other in zip(back.tensors, envelope.tensors, strict=True))


@given(tensors)
def test_a_tensor_comes_back_from_its_bytes(tensor: Tensor) -> None:
    data = memoryview(tensor_bytes(tensor))
    back = tensor_from_bytes("f", tensor.name, tensor.datatype, tensor.shape, data)
    assert same(back.array, tensor.array)


@given(st.data())
def test_a_damaged_envelope_is_named_and_nothing_else_happens(data: st.DataObject) -> None:
    whole = bytearray(encode_envelope(data.draw(envelopes)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(whole) - 1))
        whole[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (bytes(whole), bytes(whole[:cut])):
        with contextlib.suppress(InvalidInputError):
            decode_envelope(damaged)


@given(st.binary(max_size=200))
def test_noise_is_no_envelope(noise: bytes) -> None:
    for data in (noise, MAGIC + noise):
        with pytest.raises(InvalidInputError):
            decode_envelope(data)


_leaf = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5)
_json = st.recursive(
    _leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


@given(_json, st.sampled_from(list(Datatype)), st.binary(max_size=64), _json)
def test_a_header_of_anything_is_named(shape: Any, datatype: str, body: bytes, outputs: Any) -> None:
    for size in (len(body), shape):
        try:
            envelope = decode_envelope(handmade([entry(shape=shape, datatype=datatype, size=size)], body, outputs))
        except InvalidInputError:
            continue
        assert envelope.outputs is None or all(isinstance(name, str) for name in envelope.outputs)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2**63, 0], "size": 0},
        {"shape": [0, -5], "size": 0},
        {"shape": [-1], "size": 8},
        {"shape": [-1, -2], "size": 8},
        {"shape": [2.0], "size": 8},
        {"shape": [1] * 65, "size": 4},
        {"shape": "ab", "size": 8},
        {"shape": None},
        {"datatype": "FP31"},
        {"datatype": ["FP32"]},
        {"size": -8},
        {"size": 10**12},
        {"size": None},
        {"name": 5},
    ],
)
def test_an_impossible_header_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        decode_envelope(handmade([entry(**changes)], bytes(8)))


@pytest.mark.parametrize("outputs", ["abc", [1], {"a": 1}, 7])
def test_wanted_outputs_are_names(outputs: Any) -> None:
    with pytest.raises(InvalidInputError):
        decode_envelope(handmade([entry()], bytes(8), outputs))


def test_numbers_are_views_at_multiples_of_16() -> None:
    one = Tensor("a", Datatype.UINT8, np.arange(3, dtype="u1"))
    two = Tensor("b", Datatype.FP64, np.arange(3, dtype="<f8"))
    data = encode_envelope(Envelope((one, two)))
    assert data.index(two.array.tobytes()) % 16 == 0
    (_, back) = decode_envelope(data).tensors
    assert back.array.base is not None
    assert not back.array.flags.writeable


@pytest.mark.parametrize("order", ["C", "F"])
def test_big_endian_and_transposed_arrays_are_written_in_the_protocols_order(order: Any) -> None:
    array = np.asarray(np.arange(6, dtype=">i4").reshape(2, 3), order=order)
    back = tensor_from_bytes(
        "f", "x", Datatype.INT32, (2, 3), memoryview(tensor_bytes(Tensor("x", Datatype.INT32, array)))
    )
    assert back.array.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_any_byte_but_0_is_true() -> None:
    tensor = tensor_from_bytes("f", "x", Datatype.BOOL, (3,), memoryview(b"\x00\x01\xff"))
    assert tensor.array.tobytes() == b"\x00\x01\x01"


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        (Datatype.FP32, (2,), bytes(7), "7 bytes; FP32 of [2] takes 8"),
        (Datatype.BYTES, (1,), b"\x01\x00", "ends inside the length of element 0"),
        (Datatype.BYTES, (1,), b"\x05\x00\x00\x00abc", "element 0 of a BYTES tensor is said to be 5 bytes"),
        (Datatype.BYTES, (1,), b"\x01\x00\x00\x00\xff", "element 0 of a BYTES tensor is not UTF-8"),
        (Datatype.BYTES, (2,), b"\x01\x00\x00\x00a", "1 elements in its bytes, shape [2] needs 2"),
        (Datatype.UINT8, (2**63, 0), b"", "cannot have shape"),
        (Datatype.UINT8, (1,) * 65, b"1", "cannot have shape"),
    ],
)
def test_bytes_that_do_not_fit_their_shape(
    datatype: Datatype, shape: tuple[int, ...], data: bytes, message: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        tensor_from_bytes("inputs[0].data", "x", datatype, shape, memoryview(data))
    assert message in str(caught.value)
    assert caught.value.field == "inputs[0].data"


@pytest.mark.parametrize("data", [b"[1]", b'{"a": 1}', b"", b"null", b" 1"])
def test_json_is_no_envelope(data: bytes) -> None:
    assert not is_envelope(data)
