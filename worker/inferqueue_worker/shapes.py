"""Inputs and outputs whose shape an ONNX file leaves open: ONNX Runtime shows them as scalars, which they are not."""

from pathlib import Path

from inferqueue_worker.graph.wire import Message, Span, fields, text

# Numbers of fields in onnx.proto.
_GRAPH_OF_MODEL = 7
_INPUT_OF_GRAPH, _OUTPUT_OF_GRAPH = 11, 12
_NAME_OF_VALUE = 1
_SHAPE_OF_VALUE = (2, 1, 2)  # the type of a value, the tensor of a type, the shape of a tensor


def without_shape(path: Path) -> frozenset[str]:
    """Name the inputs and outputs of a model file that give no shape at all; none where the file cannot be read."""
    try:
        with path.open("rb") as file:
            model = Span(file, 0, path.stat().st_size)
            return frozenset(
                _name(value)
                for graph in _messages(model, _GRAPH_OF_MODEL)
                for kind in (_INPUT_OF_GRAPH, _OUTPUT_OF_GRAPH)
                for value in _messages(graph, kind)
                if not _messages(value, *_SHAPE_OF_VALUE)
            )
    except (OSError, ValueError):  # ONNX Runtime, which has loaded it, reads more than we do
        return frozenset()


def _messages(message: Message, *path: int) -> list[Message]:
    found = [message]
    for step in path:
        found = [
            field for outer in found for number, field in fields(outer) if number == step and not isinstance(field, int)
        ]
    return found


def _name(value: Message) -> str:
    return next((text(field) for number, field in fields(value) if number == _NAME_OF_VALUE), "")
