"""Running a graph on what is known of values instead of on values."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from itertools import count, zip_longest

from inferqueue_worker.graph import (
    along_axes,
    contrib,
    control,
    cuts,
    elementwise,
    filling,
    images,
    indexing,
    layers,
    learning,
    products,
    sequence_layers,
    sequences,
    shapes,
)
from inferqueue_worker.graph.calls import Call, FunctionCall, Rule
from inferqueue_worker.graph.model import Graph, Model, Node, read_graph
from inferqueue_worker.graph.sizes import Size
from inferqueue_worker.graph.values import Kind, Value, constant, mixed, ruined, unknown, worst
from inferqueue_worker.graph.wire import Message

_STANDARD: dict[str, Rule] = {
    **elementwise.RULES,
    **shapes.RULES,
    **filling.RULES,
    **along_axes.RULES,
    **cuts.RULES,
    **indexing.RULES,
    **products.RULES,
    **layers.RULES,
    **sequence_layers.RULES,
    **images.RULES,
    **learning.TEXT_RULES,
    **sequences.RULES,
    **control.RULES,
}
_RULES: dict[str, Mapping[str, Rule]] = {"": _STANDARD, "ai.onnx.ml": learning.RULES, "com.microsoft": contrib.RULES}
_OF_SEQUENCES = {*sequences.RULES, *control.RULES, "Identity"}
# A domain that a model does not import is taken at its newest version, as ONNX Runtime does.
_NEWEST = 1000
# A model of functions that call each other again and again would be without end.
_MOST_CALLS = 200_000
_DEEPEST = 64

# None stands for an input that a function's caller leaves out.
Scope = ChainMap[str, Value | None]


class Interpreter:
    """Evaluates the graphs of one model."""

    def __init__(self, model: Model) -> None:
        self._functions = model.functions
        self._opsets = model.opsets
        self._bodies: dict[int, tuple[Message, Graph]] = {}
        self._calls = count()
        self._depth = 0

    def run(self, graph: Graph, inputs: Mapping[str, Value]) -> list[Value]:
        """Return the outputs of the model's graph."""
        scope: Scope = ChainMap(dict(inputs))
        return self._run(graph, scope, self._opsets, None)

    def _run(self, graph: Graph, scope: Scope, opsets: Mapping[str, int], function: FunctionCall | None) -> list[Value]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RecursionError(f"graphs and functions are nested deeper than {_DEEPEST}")
        try:
            return self._outputs(graph, scope, opsets, function)
        finally:
            self._depth -= 1

    def _outputs(
        self, graph: Graph, scope: Scope, opsets: Mapping[str, int], function: FunctionCall | None
    ) -> list[Value]:
        values = scope.maps[0]
        for weights in graph.weights:
            values[weights.name] = constant(weights.dims, weights.elements)
        for node in graph.nodes:
            results = self._node(node, scope, opsets, function)
            values.update((name, result) for name, result in zip(node.outputs, results, strict=False) if name)
        return [_look_up(scope, output.name) or _missing(output.name) for output in graph.outputs]

    def _node(
        self, node: Node, scope: Scope, opsets: Mapping[str, int], function: FunctionCall | None
    ) -> Sequence[Value]:
        number = next(self._calls)
        if number > _MOST_CALLS:
            raise RecursionError(f"it takes more than {_MOST_CALLS} steps")
        inputs = [_look_up(scope, name) if name else None for name in node.inputs]
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = opsets.get(domain, opsets.get("ai.onnx", _NEWEST) if not domain else _NEWEST)

        def evaluate(source: Message, arguments: Sequence[Value]) -> list[Value]:
            graph = self._body(source)
            names = [declared.name for declared in graph.inputs]
            inner = scope.new_child(dict(zip(names, arguments, strict=True)))
            return self._run(graph, inner, opsets, function)

        call = Call(
            node, inputs, version, f"{node.outputs[0] if node.outputs else node.name}#{number}", function, evaluate
        )
        body = self._functions.get((node.domain, node.operator, node.overload)) if self._functions else None
        if body is not None:
            return self._function(call, body)
        rule = _RULES.get(domain, {}).get(node.operator)
        if rule is None:
            return _of_unknown_operator(call)
        if node.operator not in _OF_SEQUENCES and any(value is not None and value.item for value in inputs):
            return [call.unknown("takes a sequence")] * len(node.outputs)
        return _results(call, rule)

    def _function(self, call: Call, body: Graph) -> list[Value]:
        """Evaluate a function of the model's own, which sees nothing but its inputs and attributes."""
        names = [declared.name for declared in body.inputs]
        scope: Scope = ChainMap(dict(zip_longest(names, call.inputs[: len(names)])))
        return self._run(body, scope, body.opsets, FunctionCall(call, body.defaults))

    def _body(self, source: Message) -> Graph:
        known = self._bodies.get(id(source))
        if known is None:
            known = self._bodies[id(source)] = (source, read_graph(source))
        return known[1]


def _of_unknown_operator(call: Call) -> Sequence[Value]:
    found = worst(call.inputs)
    if found is not None and found.kind is Kind.MIXED:
        return [mixed(found.why)] * len(call.node.outputs)
    result = call.unknown("is an operator that nobody here knows")
    return [result] * len(call.node.outputs)


def _results(call: Call, rule: Rule) -> Sequence[Value]:
    try:
        results = rule(call)
    except RecursionError:
        raise
    except Exception as error:  # a node may be odd in more ways than can be foreseen; ONNX Runtime says what is wrong
        results = call.unknown(f"cannot be read ({type(error).__name__}: {error})")
    if isinstance(results, Value):
        results = [results]
    results = [_without_guesses(call, result) for result in results]
    missing = len(call.node.outputs) - len(results)
    return [*results, *[call.unknown("gives an output that is not known")] * missing] if missing > 0 else results


def _without_guesses(call: Call, value: Value) -> Value:
    """Take the shape from a value whose rows are mixed or unknown where the call made up a size.

    Such a size is the same for every batch in what has rows or is constant. Here the rows may be hidden in it.
    """
    if not value.bad or value.shape is None:
        return value
    made_up = f" of {call.place}"
    names = [name for size in value.shape if isinstance(size, Size) for name in size.names]
    return ruined(value) if any(name.endswith(made_up) for name in names) else value


def _look_up(scope: Scope, name: str) -> Value | None:
    for values in scope.maps:
        if name in values:
            return values[name]
    return _missing(name)


def _missing(name: str) -> Value:
    return unknown(f"nothing gives the value {name!r}")
