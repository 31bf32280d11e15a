"""One use of an operator on known values, with what the operators' rules ask of it."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from inferqueue_worker.graph.model import Node, read_attribute, read_weights
from inferqueue_worker.graph.sizes import Dim, named
from inferqueue_worker.graph.values import Kind, Shape, Value, constant, mixed, ruined, unknown
from inferqueue_worker.graph.wire import Message

Rule = Callable[["Call"], Value | Sequence[Value]]


UNKNOWN_RANK = "takes a tensor of an unknown rank"
Evaluate = Callable[[Message, Sequence[Value]], list[Value]]


class OddNodeError(Exception):
    """A node is not as its operator's specification says; ONNX Runtime will say what is wrong with it."""


class Call:
    """A node with the values of its inputs (None for one left out) and its operator's version.

    `function` is the call of the function whose body the node is in. `evaluate` runs
    the graphs among its attributes. `place` sets apart the names of sizes in bodies that are evaluated several times.
    """

    def __init__(
        self,
        node: Node,
        inputs: Sequence[Value | None],
        version: int,
        place: str,
        function: "FunctionCall | None" = None,
        evaluate: Evaluate | None = None,
    ) -> None:
        self.node = node
        self.inputs = inputs
        self.version = version
        self.place = place
        self._function = function
        self._evaluate = evaluate
        self._bodies: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """The node in words: a node without a name goes by its first output."""
        operator = self.node.operator if not self.node.domain else f"{self.node.domain}.{self.node.operator}"
        if self.node.name:
            return f"node {self.node.name!r} ({operator})"
        return f"the node of {next(filter(None, self.node.outputs), '')!r} ({operator})"

    def mixed(self, why: str, shape: Shape | None = None) -> Value:
        return mixed(f"{self.label} {why}", shape)

    def unknown(self, why: str, shape: Shape | None = None) -> Value:
        return unknown(f"{self.label} {why}", shape)

    def size(self, what: str) -> Dim:
        """Return a size that this call makes and nobody can compute, the same for every batch."""
        return named(f"{what} of {self.place}")

    def sizes(self, rank: int) -> Shape:
        return tuple(self.size(f"axis {axis}") for axis in range(rank))

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def optional(self, index: int) -> Value | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int) -> Value:
        """Return an input that must be there."""
        found = self.optional(index)
        if found is None:
            raise OddNodeError(f"input {index} is missing")
        return found

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute as it is in the file, or as the caller of the function gives it."""
        source = self.node.attributes.get(name)
        if source is None:
            return default
        found = read_attribute(source)
        value = self._function.attribute(found.refers_to) if found.refers_to and self._function else found.value
        return default if value is None else value

    def integer(self, name: str, default: int = 0) -> int:
        found = self.attribute(name, default)
        if not isinstance(found, int):
            raise OddNodeError(f"attribute {name!r} is no integer")
        return found

    def integers(self, name: str) -> tuple[int, ...] | None:
        found = self.attribute(name)
        return None if found is None else tuple(map(int, found))

    def text(self, name: str, default: str = "") -> str:
        found = self.attribute(name)
        return found.decode() if isinstance(found, bytes) else default

    def tensor(self, name: str) -> Value | None:
        found = self.attribute(name)
        if found is None:
            return None
        weights = read_weights(found)
        return constant(weights.dims, weights.elements)

    def body(self, name: str, arguments: Sequence[Value]) -> list[Value]:
        """Return the outputs of the graph in an attribute for these inputs."""
        if name not in self._bodies:
            self._bodies[name] = self.attribute(name)
        if self._bodies[name] is None or self._evaluate is None:
            raise OddNodeError(f"it has no graph {name!r}")
        return self._evaluate(self._bodies[name], arguments)

    def plain(self, index: int) -> tuple[int, ...] | None:
        """Return the known integers of an input; None where they are not known."""
        found = self.optional(index)
        if found is None or found.elements is None:
            return None
        elements = [element for element in found.elements if isinstance(element, (int, float))]
        return tuple(map(int, elements)) if len(elements) == len(found.elements) else None


class FunctionCall(Struct, frozen=True):
    """The call of a model's own function, whose attributes the nodes of its body may refer to."""

    caller: Call
    defaults: dict[str, Message]

    def attribute(self, name: str) -> Any:
        given = self.caller.attribute(name)
        source = self.defaults.get(name)
        return given if given is not None or source is None else read_attribute(source).value


def axis_of(axis: int, rank: int) -> int:
    """Return an axis that may count from the end as one that counts from the start."""
    counted = axis + rank if axis < 0 else axis
    if not 0 <= counted < max(rank, 1):
        raise OddNodeError(f"axis {axis} is beyond rank {rank}")
    return counted


def data_dependent(call: Call, indices: Sequence[int], what: str) -> Value | None:
    """Return the MIXED or UNKNOWN result of a call whose shape hangs on inputs that are not settled, or None."""
    for index in indices:
        found = call.optional(index)
        if found is None or found.settled:
            continue
        if found.bad:
            return ruined(found)
        if found.kind is Kind.COUNT:
            return call.mixed(f"takes {what} from the number of rows")
        return call.mixed(f"takes {what} from the rows' values")
    return None
