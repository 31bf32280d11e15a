"""Operators that hold graphs: conditions, loops, scans and maps over sequences."""

from collections.abc import Callable

from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import relaid
from inferqueue_worker.graph.calls import Call, OddNodeError, Rule
from inferqueue_worker.graph.joining import either
from inferqueue_worker.graph.values import Kind, Value, constant, ruined, unknown

# What is known of a loop's state is less after each turn until it stays the same; few turns do, or none would.
_MOST_TURNS = 8


def branch(call: Call) -> list[Value]:
    """If: a condition that the rows decide decides for all of them."""
    condition = call.value(0)
    if condition.elements in ((True,), (False,)):
        return call.body("then_branch" if condition.elements[0] else "else_branch", [])
    refusal = _refusal(call, condition, "chooses for all rows by")
    if refusal is not None:
        return [refusal] * len(call.node.outputs)
    pairs = zip(call.body("then_branch", []), call.body("else_branch", []), strict=True)
    return [either(one, other, call.place) for one, other in pairs]


def _refusal(call: Call, value: Value | None, what: str) -> Value | None:
    if value is None or value.settled:
        return None
    if value.bad:
        return ruined(value)
    return call.mixed(f"{what} {'the number of rows' if value.kind is Kind.COUNT else 'the values of some'}")


def _settle(call: Call, states: list[Value], turn: Callable[[list[Value]], list[Value]]) -> list[Value]:
    """Return what holds of a loop's states before and after any number of turns."""
    for _ in range(_MOST_TURNS):
        after = [
            either(one, other, f"{call.place} {at}")
            for at, (one, other) in enumerate(zip(states, turn(states), strict=True))
        ]
        if after == states:
            return states
        states = after
    return [call.unknown("does not come to an end of what can be known of it")] * len(states)


def loop(call: Call) -> list[Value]:
    """Loop: all rows take as many turns."""
    given = [call.value(index) for index in range(2, len(call.inputs))]
    fixed = [constant(()), constant(())]
    states = _settle(call, given, lambda states: call.body("body", [*fixed, *states])[1 : 1 + len(states)])
    goes_on, *results = call.body("body", [*fixed, *states])
    for decider in (call.optional(0), call.optional(1), goes_on):
        refusal = _refusal(call, decider, "takes its turns by")
        if refusal is not None:
            # The shapes of the states hold after any number of turns.
            kept = [replace(refusal, shape=state.shape) for state in states]
            return [*kept, *[refusal] * (len(results) - len(states))]
    turns = call.size("turns")
    return [*states, *(_stacked(call, value, 0, turns) for value in results[len(states) :])]


def _stacked(call: Call, value: Value, axis: int, turns: object) -> Value:
    """Return the results of all turns along a new axis."""
    if value.item is not None:
        return call.unknown("stacks sequences")
    if value.kind is Kind.NUMBERS:
        return call.mixed("computes with the place that a row has in its batch")
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown("stacks tensors of an unknown rank")
    axis = axis + len(value.shape) + 1 if axis < 0 else axis
    shape = (*value.shape[:axis], turns, *value.shape[axis:])
    return relaid(value, shape, None if value.lie is None else value.lie.axis + (axis <= value.lie.axis))  # type: ignore[arg-type]  # turns is a size


def scan(call: Call) -> list[Value]:
    """Scan: along any axis but that of the rows."""
    count = len(call.node.outputs)
    if call.version < 9:
        return [call.unknown("is of a version with a batch of its own")] * count
    number = call.integer("num_scan_inputs")
    values = [call.value(index) for index in range(len(call.inputs))]
    given, scanned = values[: len(values) - number], values[len(values) - number :]
    axes = call.integers("scan_input_axes") or (0,) * number
    slices = [_slice(call, value, axis) for value, axis in zip(scanned, axes, strict=True)]
    for value in slices:
        if value.kind is Kind.MIXED:
            return [value] * count
    states = _settle(call, given, lambda states: call.body("body", [*states, *slices])[: len(states)])
    results = call.body("body", [*states, *slices])[len(states) :]
    out_axes = call.integers("scan_output_axes") or (0,) * len(results)
    turns = scanned[0].shape[axes[0]] if scanned[0].shape is not None else call.size("turns")
    return [*states, *(_stacked(call, value, axis, turns) for value, axis in zip(results, out_axes, strict=True))]


def _slice(call: Call, value: Value, axis: int) -> Value:
    if value.shape is None or value.numbers is not None:
        return relaid(value, None) if value.lie is None else call.unknown("goes through a tensor of an unknown rank")
    axis = axis + len(value.shape) if axis < 0 else axis
    if value.lie is not None and value.lie.axis == axis:
        return call.mixed("goes through the rows one after the other")
    shape = (*value.shape[:axis], *value.shape[axis + 1 :])
    return relaid(value, shape, None if value.lie is None else value.lie.axis - (axis < value.lie.axis))


def map_sequence(call: Call) -> list[Value]:
    """SequenceMap: the tensors of a sequence one by one."""
    first = call.value(0)
    if not first.settled or first.item is None:
        found = ruined(first) if first.bad else unknown(f"{call.label} maps a sequence of which nothing is known")
        return [found] * len(call.node.outputs)
    arguments: list[Value] = []
    for index in range(len(call.inputs)):
        value = call.value(index)
        if value.item is None and value is first:
            raise OddNodeError("its first input is no sequence")
        arguments.append(value if value.item is None else replace(value.item, elements=None))
    return [replace(first, item=value) for value in call.body("body", arguments)]


RULES: dict[str, Rule] = {"If": branch, "Loop": loop, "Scan": scan, "SequenceMap": map_sequence}
