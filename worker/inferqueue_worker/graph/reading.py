"""Whether the graph of a model keeps its rows apart, as its file says."""

from collections.abc import Collection, Sequence
from pathlib import Path

from inferqueue_worker.graph.interpreter import Interpreter
from inferqueue_worker.graph.model import Declared, Model
from inferqueue_worker.graph.row_reading import RowReading, why_fixed
from inferqueue_worker.graph.sizes import ROWS, Dim, named
from inferqueue_worker.graph.values import Kind, Lie, Value, rows

_OWN = Lie(0)


def read_file(path: Path, batch_labels: Collection[str], outputs: Collection[str] | None) -> RowReading:
    """Read a model file as `inferqueue_worker.graph.read_rows` says."""
    try:
        with path.open("rb") as file:
            return _read(Model(file, path.stat().st_size), batch_labels, outputs)
    except Exception as error:  # the file may hold anything; ONNX Runtime says what is wrong with it
        return RowReading("undecided", f"the graph cannot be read: {type(error).__name__}: {error}")


def _read(model: Model, batch_labels: Collection[str], wanted: Collection[str] | None) -> RowReading:
    graph = model.graph
    stored = {weights.name for weights in graph.weights}
    # Before IR version 4 weights are inputs too, which nobody gives.
    inputs = [declared for declared in graph.inputs if declared.name not in stored]
    refusal = _refused_inputs(inputs, batch_labels)
    if refusal:
        return RowReading("mixed", refusal)
    values = {declared.name: _rows_of(declared) for declared in inputs}
    results = zip(graph.outputs, Interpreter(model).run(graph, values), strict=True)
    outputs = [(declared, value) for declared, value in results if wanted is None or declared.name in wanted]
    return _judge(inputs, outputs, batch_labels)


def _refused_inputs(inputs: Sequence[Declared], batch_labels: Collection[str]) -> str:
    if not inputs:
        return "it has no inputs"
    for declared in inputs:
        if declared.dims == ():
            return f"input {declared.name!r} is a scalar"
        if declared.dims and isinstance(declared.dims[0], int) and declared.dims[0] >= 0:
            return why_fixed(declared.name, declared.dims[0])
    names = _first_names(inputs) - set(batch_labels)
    if len(names) > 1 or (names and names != _first_names(inputs)):
        return f"its inputs name axis 0 differently: {', '.join(sorted(_first_names(inputs)))}"
    return ""


def _first_names(declared: Sequence[Declared]) -> set[str]:
    return {one.dims[0] for one in declared if one.dims and isinstance(one.dims[0], str)}


def _rows_of(declared: Declared) -> Value:
    """Give an input: its axis 0 has the rows. Axes of one name are as long, as the model says."""
    if declared.dims is None:
        return rows(None, _OWN)
    sizes: list[Dim] = [ROWS]
    for axis, size in enumerate(declared.dims[1:], 1):
        if isinstance(size, int) and size >= 0:
            sizes.append(size)
        else:
            sizes.append(named(size if isinstance(size, str) else f"axis {axis} of {declared.name}"))
    return rows(tuple(sizes), _OWN)


def _judge(
    inputs: Sequence[Declared], outputs: Sequence[tuple[Declared, Value]], batch_labels: Collection[str]
) -> RowReading:
    constants = tuple(declared.name for declared, value in outputs if value.settled and value.item is None)
    undecided = ""
    for declared, value in outputs:
        if declared.name in constants:
            continue
        refusal = _refused_output(declared.name, value)
        if refusal:
            return RowReading("mixed", refusal, constants)
        if value.kind is Kind.UNKNOWN:
            undecided = undecided or value.why
    if not undecided:
        return RowReading("apart", "every operator keeps the rows apart", constants)
    expected = {*_first_names(inputs), *batch_labels}
    for declared, _ in outputs:
        label = declared.dims[0] if declared.dims else None
        if declared.name not in constants and isinstance(label, str) and expected and label not in expected:
            return RowReading(
                "mixed",
                f"{undecided}, and output {declared.name!r} names its axis 0 {label!r}, not "
                f"{' or '.join(map(repr, sorted(expected)))}",
                constants,
            )
    return RowReading("undecided", undecided, constants)


def _refused_output(name: str, value: Value) -> str:
    """Say why an output has not one entry for each row along axis 0; '' where it has, or where that is not known."""
    if value.kind is Kind.MIXED:
        return value.why
    if value.item is not None:
        return f"output {name!r} is a sequence of tensors, not one entry for each row"
    if value.kind is Kind.COUNT:
        return f"output {name!r} is made of the number of rows"
    if value.kind is Kind.NUMBERS:
        return f"output {name!r} numbers the rows"
    if value.kind is Kind.ROWS and value.lie != _OWN:
        assert value.lie is not None
        if value.lie.axis:
            return f"output {name!r} has the rows along axis {value.lie.axis}, not 0"
        return f"output {name!r} has {value.lie.size} entries for the rows"
    return ""
