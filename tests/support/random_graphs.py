"""Random graphs of operators that keep rows apart or mix them, valid as far as ONNX Runtime takes them."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from support.onnx_models import FLOAT, INT64, make, value
from support.row_truth import run, session

WIDTH = 3
_UNARY = ("Relu", "Neg", "Sigmoid", "Abs", "Floor", "Identity")
_BINARY = ("Add", "Sub", "Mul", "Max", "Min")
_REDUCTIONS = ("ReduceSum", "ReduceMax", "ReduceMean", "ReduceMin")
_SHAPES: tuple[tuple[int, ...], ...] = (
    (WIDTH,),
    (1, WIDTH),
    (2, WIDTH),
    (1,),
    (),
    (1, 1, WIDTH),
    (WIDTH, WIDTH),
    (2, 1, 1),
)


class RandomGraph:
    """A graph that grows by nodes; `values` are its floats with what they were in a run of `rows` rows."""

    def __init__(self, random: Random, rows: int, prefix: str = "", given: dict[str, Any] | None = None) -> None:
        self.random = random
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Any] = {}
        self.prefix = prefix
        source = np.random.default_rng(random.randrange(1000))
        inputs = {"x": source.normal(size=(rows, WIDTH)), "z": source.normal(size=(rows, 2, WIDTH))}
        self.fed = {name: array.astype(np.float32) for name, array in inputs.items()}
        self.values: dict[str, Any] = dict(self.fed) if given is None else given
        self._names = 0

    def name(self) -> str:
        self._names += 1
        return f"{self.prefix}v{self._names}"

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        name = self.name()
        self.nodes.append(helper.make_node(operator, inputs, [name], name=f"{name}_node", **attributes))
        return name

    def constant(self, array: Any) -> str:
        name = self.name()
        self.constants[name] = array
        return name

    def integers(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, dtype=np.int64))

    def pick(self) -> str:
        """Pick a value, the newest most often."""
        names = list(self.values)
        return names[-1] if self.random.random() < 0.6 else self.random.choice(names)

    def pick_or_constant(self) -> str:
        if self.random.random() < 0.5:
            return self.pick()
        shape = self.random.choice(_SHAPES)
        return self.constant(np.linspace(-1, 1, max(1, int(np.prod(shape)))).reshape(shape).astype(np.float32))

    def rank(self, name: str) -> int:
        return np.ndim(self.values[name])

    def axis(self, name: str, least: int = 0) -> int:
        return self.random.randrange(least, max(self.rank(name), least + 1))

    def model(self, outputs: list[str]) -> ModelProto:
        declared = [value("x", FLOAT, ["rows", WIDTH]), value("z", FLOAT, ["rows", 2, WIDTH])]
        return make(self.nodes, declared, [value(name, FLOAT, None) for name in outputs], self.constants)


def _unary(graph: RandomGraph) -> str:
    return graph.add(graph.random.choice(_UNARY), [graph.pick()])


def _binary(graph: RandomGraph) -> str:
    return graph.add(graph.random.choice(_BINARY), [graph.pick(), graph.pick_or_constant()])


def _matmul(graph: RandomGraph) -> str:
    operands = [graph.pick(), graph.pick_or_constant()]
    graph.random.shuffle(operands)
    return graph.add("MatMul", operands)


def _gemm(graph: RandomGraph) -> str:
    flips = {"transA": graph.random.randrange(2), "transB": graph.random.randrange(2)}
    return graph.add(
        "Gemm",
        [graph.pick(), graph.pick_or_constant(), *([graph.pick_or_constant()] * graph.random.randrange(2))],
        **flips,
    )


def _transpose(graph: RandomGraph) -> str:
    name = graph.pick()
    order = list(range(graph.rank(name)))
    graph.random.shuffle(order)
    return graph.add("Transpose", [name], perm=order)


def _reshape(graph: RandomGraph) -> str:
    targets = (
        [0, -1],
        [-1, WIDTH],
        [-1],
        [1, -1],
        [0, 0, -1],
        [0, 1, -1],
        [-1, 2, WIDTH],
        [-1, 1],
        [WIDTH, -1],
        [2, -1],
    )
    return graph.add("Reshape", [graph.pick(), graph.integers(*graph.random.choice(targets))])


def _reshape_like(graph: RandomGraph) -> str:
    """Reshape to sizes read from a shape, as exporters write it."""
    source = graph.add("Shape", [graph.pick()])
    size = graph.add("Gather", [source, graph.integers(graph.random.choice([0, 0, 1]))])
    rest = [graph.integers(graph.random.choice([-1, WIDTH, 2])) for _ in range(graph.random.randrange(1, 3))]
    if graph.random.random() < 0.3:
        size = graph.add("Mul", [size, graph.integers(2)])
    target = graph.add("Concat", [size, *rest], axis=0)
    return graph.add(graph.random.choice(["Reshape", "Expand"]), [graph.pick(), target])


def _filled(graph: RandomGraph) -> str:
    """A constant as large as a shape says, or the numbers up to a size."""
    shape = graph.add("Shape", [graph.pick()])
    if graph.random.random() < 0.6:
        return graph.add("ConstantOfShape", [shape])
    size = graph.add("Gather", [shape, graph.constant(np.array(graph.random.choice([0, 1]), dtype=np.int64))])
    count = graph.add("Range", [graph.constant(np.array(0)), size, graph.constant(np.array(1))])
    return graph.add("Cast", [count], to=FLOAT)


def _size_as_number(graph: RandomGraph) -> str:
    size = graph.add("Cast", [graph.add(graph.random.choice(["Size", "Shape"]), [graph.pick()])], to=FLOAT)
    return graph.add("Mul", [graph.pick(), graph.add("ReduceMax", [size], keepdims=0)])


def _flatten(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add("Flatten", [name], axis=graph.random.randrange(graph.rank(name) + 1))


def _unsqueeze(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add("Unsqueeze", [name, graph.integers(graph.random.randrange(graph.rank(name) + 1))])


def _squeeze(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add("Squeeze", [name, *([graph.integers(graph.axis(name))] if graph.random.random() < 0.7 else [])])


def _concat(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add("Concat", [name, graph.pick_or_constant()], axis=graph.axis(name))


def _slice(graph: RandomGraph) -> str:
    name = graph.pick()
    start, end = graph.random.choice([(0, 2**31 - 1), (0, 1), (1, 3), (-1, 2**31 - 1)])
    return graph.add("Slice", [name, graph.integers(start), graph.integers(end), graph.integers(graph.axis(name))])


def _gather(graph: RandomGraph) -> str:
    name = graph.pick()
    index = graph.random.choice([np.array(0), np.array([0, 1]), np.array([[1], [0]])])
    return graph.add("Gather", [name, graph.constant(index)], axis=graph.axis(name))


def _own_row(graph: RandomGraph) -> str:
    """Gather by row numbers, as advanced indexing is exported."""
    name = graph.pick()
    shape = graph.add("Shape", [name])
    size = graph.add("Gather", [shape, graph.constant(np.array(0))])
    numbers = graph.add("Range", [graph.constant(np.array(0)), size, graph.constant(np.array(1))])
    if graph.random.random() < 0.4:
        return graph.add("Gather", [name, numbers], axis=graph.axis(name))
    column = graph.add("Unsqueeze", [numbers, graph.integers(1)])
    other = graph.add("Expand", [graph.integers(1), graph.add("Shape", [column])])
    pair = [column, other]
    graph.random.shuffle(pair)
    return graph.add("GatherND", [name, graph.add("Concat", pair, axis=1)])


def _gather_elements(graph: RandomGraph) -> str:
    name = graph.pick()
    index = graph.add("Cast", [graph.add("Greater", [graph.pick(), graph.constant(np.float32(0))])], to=INT64)
    return graph.add("GatherElements", [name, index], axis=graph.axis(name))


def _look_up(graph: RandomGraph) -> str:
    index = graph.add("Cast", [graph.add("Greater", [graph.pick(), graph.constant(np.float32(0))])], to=INT64)
    return graph.add("Gather", [graph.pick_or_constant(), index], axis=0)


def _reduce(graph: RandomGraph) -> str:
    operator = graph.random.choice(_REDUCTIONS)
    name, keeps = graph.pick(), graph.random.randrange(2)
    if graph.random.random() < 0.15:
        return graph.add(operator, [name], keepdims=keeps)
    if operator == "ReduceSum":
        return graph.add(operator, [name, graph.integers(graph.axis(name))], keepdims=keeps)
    return graph.add(operator, [name], axes=[graph.axis(name)], keepdims=keeps)


def _arg(graph: RandomGraph) -> str:
    name = graph.pick()
    found = graph.add(
        graph.random.choice(["ArgMax", "ArgMin"]), [name], axis=graph.axis(name), keepdims=graph.random.randrange(2)
    )
    return graph.add("Cast", [found], to=FLOAT)


def _softmax(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add(
        graph.random.choice(["Softmax", "LogSoftmax", "LpNormalization", "Hardmax"]), [name], axis=graph.axis(name)
    )


def _normalize(graph: RandomGraph) -> str:
    name = graph.pick()
    axis = graph.axis(name)
    return graph.add("LayerNormalization", [name, graph.constant(np.array([1], dtype=np.float32))], axis=axis)


def _cumulate(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add("CumSum", [name, graph.integers(graph.axis(name))])


def _top(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add("TopK", [name, graph.integers(1)], axis=graph.axis(name))


def _tile(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add("Tile", [name, graph.integers(*(graph.random.choice([1, 1, 2]) for _ in range(graph.rank(name))))])


def _where(graph: RandomGraph) -> str:
    condition = graph.add("Greater", [graph.pick(), graph.pick_or_constant()])
    return graph.add("Where", [condition, graph.pick(), graph.pick_or_constant()])


def _pad(graph: RandomGraph) -> str:
    name = graph.pick()
    return graph.add(
        "Pad", [name, graph.integers(*(graph.random.choice([0, 0, 1]) for _ in range(2 * graph.rank(name))))]
    )


def _einsum(graph: RandomGraph) -> str:
    equation = graph.random.choice(
        ["ij,ij->ij", "ij,kj->ik", "ij->ji", "ij,jk->ik", "ij->j", "bij,bj->bi", "bij,cij->bc", "...j->...", "ii->i"]
    )
    operands = [graph.pick(), *([graph.pick_or_constant()] * ("," in equation))]
    return graph.add("Einsum", operands, equation=equation)


def _scatter(graph: RandomGraph) -> str:
    name = graph.pick()
    index = graph.add("Cast", [graph.add("Greater", [graph.pick(), graph.constant(np.float32(0))])], to=INT64)
    return graph.add("ScatterElements", [name, index, graph.pick_or_constant()], axis=graph.axis(name))


def _sequence(graph: RandomGraph) -> str:
    name = graph.pick()
    items = graph.add("SplitToSequence", [name], axis=graph.axis(name), keepdims=graph.random.randrange(2))
    if graph.random.random() < 0.3:
        return graph.add("SequenceAt", [items, graph.constant(np.array(0))])
    return graph.add("ConcatFromSequence", [items], axis=graph.axis(name), new_axis=graph.random.randrange(2))


def _triangle(graph: RandomGraph) -> str:
    return graph.add("Trilu", [graph.pick()])


def _branch(graph: RandomGraph) -> str:
    """A condition over graphs that see the values around them."""
    if graph.random.random() < 0.5:
        condition = graph.constant(np.array(graph.random.random() < 0.5))
    else:
        condition = graph.add(
            "Greater", [graph.add("ReduceMax", [graph.pick()], keepdims=0), graph.constant(np.float32(0.5))]
        )
    bodies = {}
    for place in ("then_branch", "else_branch"):
        inner = RandomGraph(graph.random, 1, f"{graph.name()}_", dict(graph.values))
        result = graph.random.choice(STEPS[:12])(inner)
        graph.constants.update(inner.constants)
        bodies[place] = helper.make_graph(inner.nodes, place, [], [value(result, FLOAT, None)])
    return graph.add("If", [condition], **bodies)


def _loop(graph: RandomGraph) -> str:
    """A loop of two turns over a state, or of as many as rows."""
    inner = RandomGraph(graph.random, 1, f"{graph.name()}_")
    state = f"{inner.prefix}state"
    first = graph.pick()
    inner.values = {**graph.values, state: graph.values[first]}
    result = graph.random.choice(STEPS[:12])(inner)
    inner.add("Identity", [f"{inner.prefix}go"])
    graph.constants.update(inner.constants)
    body = helper.make_graph(
        inner.nodes,
        "body",
        [
            value(f"{inner.prefix}turn", INT64, []),
            value(f"{inner.prefix}go", TensorProto.BOOL, []),
            value(state, FLOAT, None),
        ],
        [value(inner.nodes[-1].output[0], TensorProto.BOOL, []), value(result, FLOAT, None)],
    )
    turns = graph.constant(np.array(2))
    if graph.random.random() < 0.2:
        turns = graph.add("Gather", [graph.add("Shape", [graph.pick()]), graph.constant(np.array(0))])
    return graph.add("Loop", [turns, graph.constant(np.array(True)), first], body=body)


def _scan(graph: RandomGraph) -> str:
    name = graph.pick()
    inner = RandomGraph(graph.random, 1, f"{graph.name()}_")
    slice_name = f"{inner.prefix}slice"
    axis = graph.axis(name)
    inner.values = {slice_name: np.take(graph.values[name], 0, axis)}
    result = graph.random.choice(STEPS[:12])(inner)
    graph.constants.update(inner.constants)
    body = helper.make_graph(inner.nodes, "body", [value(slice_name, FLOAT, None)], [value(result, FLOAT, None)])
    return graph.add("Scan", [name], body=body, num_scan_inputs=1, scan_input_axes=[axis])


STEPS: tuple[Callable[[RandomGraph], str], ...] = (
    _unary, _binary, _matmul, _transpose, _reshape, _reduce, _softmax, _slice, _gather, _concat, _cumulate, _where,
    _gemm, _reshape_like, _filled, _size_as_number, _flatten, _unsqueeze, _squeeze, _own_row, _gather_elements,
    _look_up, _arg, _normalize, _top, _tile, _pad, _einsum, _scatter, _sequence, _triangle, _branch, _loop, _scan,
)  # fmt: skip


def random_graph(random: Random, steps: int) -> tuple[ModelProto, list[str]] | None:
    """Grow a graph by up to `steps` steps that ONNX Runtime takes; give it with its outputs, None if nothing grew."""
    graph = RandomGraph(random, random.choice([1, 2]))
    for _ in range(steps):
        _grow(graph)
    made = [name for name in graph.values if name not in graph.fed]
    if not made:
        return None
    outputs = [made[-1], *([random.choice(made)] if random.random() < 0.3 else [])]
    outputs = list(dict.fromkeys(outputs))
    return _without_unused(graph.model(outputs), outputs), outputs


def _grow(graph: RandomGraph) -> None:
    """Add a step, or leave the graph as it is where ONNX Runtime does not take the step or its result is no float."""
    nodes, constants = len(graph.nodes), dict(graph.constants)
    try:
        name = graph.random.choice(STEPS)(graph)
        results = run(session(graph.model([name])), graph.fed)
    except Exception:  # whatever ONNX or ONNX Runtime has against the step
        name, results = "", None
    if results is None or results[0].dtype != np.float32 or results[0].size > 500:
        del graph.nodes[nodes:]
        graph.constants = constants
    else:
        graph.values[name] = results[0]


def _without_unused(model: ModelProto, outputs: list[str]) -> ModelProto:
    """Take out nodes that no output needs: one that two rows cannot run makes the whole run fail."""
    needed = set(outputs)
    for node in reversed(list(model.graph.node)):
        if needed.isdisjoint(node.output):
            model.graph.node.remove(node)
            continue
        needed.update(node.input)
        for attribute in node.attribute:
            needed.update(name for inner in attribute.g.node for name in inner.input)
            needed.update(output.name for output in attribute.g.output)
            needed.update(
                name
                for inner in attribute.g.node
                for deep in inner.attribute
                for each in deep.g.node
                for name in each.input
            )
    return model
