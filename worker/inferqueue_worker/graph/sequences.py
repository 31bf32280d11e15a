"""Sequences of tensors and optional values."""

from collections.abc import Sequence

from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import relaid, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule, axis_of, data_dependent
from inferqueue_worker.graph.cuts import join
from inferqueue_worker.graph.joining import either
from inferqueue_worker.graph.sizes import Dim
from inferqueue_worker.graph.values import Kind, Shape, Value, constant, ruined


def sequence_of(call: Call, items: Sequence[Value]) -> Value:
    """Return a sequence whose tensors are like these; its kind is that of its length."""
    item: Value | None = None
    for value in items:
        item = value if item is None else either(item, value, call.place)
    return Value(Kind.CONSTANT, item=item)


def construct(call: Call) -> Value:
    return sequence_of(call, [call.value(index) for index in range(len(call.inputs))])


def empty(call: Call) -> Value:
    return sequence_of(call, [])


def insert(call: Call) -> Value:
    sequence, value = call.value(0), call.value(1)
    refused = data_dependent(call, [2], "the place in a sequence")
    if refused is not None:
        return refused
    items = [value] if sequence.item is None else [sequence.item, value]
    return replace(sequence, item=sequence_of(call, items).item)


def erase(call: Call) -> Value:
    return data_dependent(call, [1], "the place in a sequence") or call.value(0)


def at(call: Call) -> Value:
    refused = data_dependent(call, [0, 1], "the place in a sequence")
    if refused is not None:
        return refused
    item = call.value(0).item
    return (
        call.unknown("takes from a sequence of which nothing is known")
        if item is None
        else replace(item, elements=None)
    )


def length(call: Call) -> Value:
    value = call.value(0)
    return Value(value.kind, (), why=value.why)


def split(call: Call) -> Value:
    value = call.value(0)
    refused = data_dependent(call, [1], "the sizes of its pieces")
    if refused is not None:
        return refused
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    axis = axis_of(call.integer("axis"), len(value.shape))
    if value.lie is not None and value.lie.axis == axis:
        return call.mixed("parts the rows")
    keeps = call.has(1) or call.integer("keepdims", 1)
    sizes: list[Dim] = [1] if not call.has(1) else [call.size("piece")]
    shape: Shape = (*value.shape[:axis], *(sizes if keeps else ()), *value.shape[axis + 1 :])
    lie = value.lie
    place = None if lie is None else lie.axis - (lie.axis > axis and not keeps)
    return Value(Kind.CONSTANT, item=relaid(value, shape, place))


def concat(call: Call) -> Value:
    sequence = call.value(0)
    if not sequence.settled or sequence.item is None:
        return ruined(sequence) if sequence.bad else call.unknown("joins a sequence of which nothing is known")
    item = sequence.item
    if item.shape is None:
        return relaid(item, None) if item.lie is None else call.unknown(UNKNOWN_RANK)
    new = bool(call.integer("new_axis"))
    axis = axis_of(call.integer("axis"), len(item.shape) + new)
    shape = (*item.shape[:axis], call.size("joined"), *item.shape[axis + (not new) :])
    decided = without_rows(call, [item], shape)
    if decided is not None or item.lie is None:
        return decided or relaid(item, shape)
    if new:
        return relaid(item, shape, item.lie.axis + (axis <= item.lie.axis))
    if item.lie.axis == axis:
        return call.mixed("joins rows one after the other", shape)
    return join(call, [item, item], axis, shape)


def optional(call: Call) -> Value:
    return call.value(0) if call.has(0) else call.unknown("makes a value that is not there")


def is_there(call: Call) -> Value:
    return constant((), [call.has(0)] if not call.has(0) else None)


RULES: dict[str, Rule] = {
    "SequenceConstruct": construct,
    "SequenceEmpty": empty,
    "SequenceInsert": insert,
    "SequenceErase": erase,
    "SequenceAt": at,
    "SequenceLength": length,
    "SplitToSequence": split,
    "ConcatFromSequence": concat,
    "Optional": optional,
    "OptionalGetElement": optional,
    "OptionalHasElement": is_there,
}
