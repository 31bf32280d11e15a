"""Tensors in other files are found wherever a graph may hold them, and can be put into it."""

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto

from inferqueue_worker.external_data import (
    CHILDREN,
    MARK,
    DamagedGraphError,
    ExternalTensor,
    embed,
    external_tensors,
    top_level_end,
)
from support.onnx_models import doubling

DATA = bytes(range(256))


def external(tensor: TensorProto, name: str, *, offset: int = 4, length: int = 8) -> None:
    tensor.name, tensor.data_type = name, TensorProto.FLOAT
    tensor.dims.append(length // 4)
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "weights.bin"), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=text)


def with_tensors_everywhere() -> ModelProto:
    model = doubling()
    external(model.graph.initializer.add(), "initializer")
    sparse = model.graph.sparse_initializer.add()
    external(sparse.values, "values")
    external(sparse.indices, "indices")
    attribute = model.graph.node[0].attribute.add(name="all")
    external(attribute.t, "t")
    external(attribute.tensors.add(), "tensors")
    external(attribute.g.initializer.add(), "subgraph")
    external(attribute.graphs.add().initializer.add(), "subgraphs")
    external(attribute.sparse_tensor.values, "sparse")
    external(attribute.sparse_tensors.add().values, "sparses")
    function = model.functions.add(name="f")
    external(function.node.add().attribute.add().t, "function")
    external(function.attribute_proto.add().t, "default")
    external(model.training_info.add().initialization.initializer.add(), "training")
    return model


def part(tensor: ExternalTensor) -> bytes:
    return DATA[tensor.offset : tensor.offset + tensor.length]


def test_every_message_of_onnx_that_can_hold_tensors_is_looked_into() -> None:
    holders = {"TensorProto"}
    messages = onnx.onnx_ml_pb2.DESCRIPTOR.message_types_by_name
    kinds = {name: {field.number: field.message_type for field in message.fields} for name, message in messages.items()}
    while True:
        fields = {
            name: {number: kind.name for number, kind in numbers.items() if kind and kind.name in holders}
            for name, numbers in kinds.items()
        }
        found = holders | {name for name, numbers in fields.items() if numbers}
        if found == holders:
            break
        holders = found
    assert {name: numbers for name, numbers in fields.items() if numbers} == CHILDREN


def test_external_tensors_are_found_everywhere() -> None:
    found = external_tensors(with_tensors_everywhere().SerializeToString())
    assert {tensor.name for tensor in found} == {
        *("initializer", "values", "indices", "t", "tensors", "subgraph", "subgraphs", "sparse", "sparses"),
        *("function", "default", "training"),
    }
    assert [tensor.name for tensor in found if tensor.initializer] == ["initializer"]
    assert {(tensor.location, tensor.offset, tensor.length) for tensor in found} == {("weights.bin", 4, 8)}


def test_what_is_embedded_is_what_onnx_would_load() -> None:
    model = with_tensors_everywhere()
    embedded = onnx.load_from_string(embed(model.SerializeToString(), part))
    assert external_tensors(embedded.SerializeToString()) == ()
    assert embedded.graph.initializer[0].raw_data == DATA[4:12]
    assert embedded.graph.node[0].attribute[0].g.initializer[0].raw_data == DATA[4:12]
    assert embedded.graph.node[0].attribute[0].g.initializer[0].name == "subgraph"
    assert embedded.functions[0].attribute_proto[0].t.raw_data == DATA[4:12]
    assert (embedded.graph.input, embedded.opset_import) == (model.graph.input, model.opset_import)


def test_what_is_left_out_stays_as_it_was() -> None:
    graph = with_tensors_everywhere().SerializeToString()
    assert embed(graph, lambda _: None) == graph


def test_a_length_that_is_not_said_is_that_of_the_values() -> None:
    model = doubling()
    tensor = model.graph.initializer.add(name="w", data_type=TensorProto.INT4, dims=[3, 3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w")
    (found,) = external_tensors(model.SerializeToString())
    assert (found.offset, found.length) == (0, 5)


@pytest.mark.parametrize("value", ["-1", "many"])
def test_a_place_that_makes_no_sense_is_refused(value: str) -> None:
    model = doubling()
    external(model.graph.initializer.add(), "w")
    model.graph.initializer[0].external_data[1].value = value
    with pytest.raises(DamagedGraphError, match="tensor 'w' has no usable place in its file"):
        external_tensors(model.SerializeToString())


def test_the_mark_is_in_every_graph_that_names_files() -> None:
    assert MARK in with_tensors_everywhere().SerializeToString()


GRAPH = with_tensors_everywhere().SerializeToString()


@given(st.integers(1, len(GRAPH) - 1))
def test_a_graph_that_is_cut_inside_a_field_is_noticed(length: int) -> None:
    cut = GRAPH[:length]
    try:
        whole = top_level_end(len(cut), lambda start, count: cut[start : start + count]) == len(cut)
    except DamagedGraphError:
        whole = False
    if whole:  # it ends between two fields, and is a message by itself
        onnx.load_from_string(cut)
    else:
        with pytest.raises(DecodeError):
            onnx.load_from_string(cut)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(graph: bytes) -> None:
    try:
        assert embed(graph, part) == graph
    except DamagedGraphError as error:
        assert str(error)  # noqa: PT017 (either is fine, and nothing else is)
