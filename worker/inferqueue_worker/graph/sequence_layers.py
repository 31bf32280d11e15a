"""Layers along time: recurrences and attention."""

from collections.abc import Sequence

from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import different_lies, relaid, without_rows
from inferqueue_worker.graph.calls import Call, Rule
from inferqueue_worker.graph.layers import by_sample
from inferqueue_worker.graph.sizes import Dim
from inferqueue_worker.graph.values import Lie, Value, rows


def recurrent(call: Call) -> list[Value]:
    """LSTM, GRU and RNN: the batch is axis 1, or 0 with `layout`, of the inputs and of their initial states."""
    first = call.integer("layout")
    value = call.value(0)
    states = (5, 6) if call.node.operator == "LSTM" else (5,)
    directions = 2 if call.text("direction") == "bidirectional" else 1
    size: Dim = call.attribute("hidden_size") or call.size("hidden")
    if value.shape is None:
        whole = last = None
    else:
        steps, batch = (value.shape[1], value.shape[0]) if first else value.shape[:2]
        whole = (batch, steps, directions, size) if first else (steps, directions, batch, size)
        last = (batch, directions, size) if first else (directions, batch, size)
    result = _recurrent(call, value, 0 if first else 1, states)
    if result.bad or result.lie is None:
        return [relaid(result, whole), *[relaid(result, last)] * 2]
    return [relaid(result, whole, 0 if first else 2), *[relaid(result, last, 0 if first else 1)] * 2]


def _recurrent(call: Call, value: Value, axis: int, states: Sequence[int]) -> Value:
    decided = without_rows(call, call.inputs, value.shape)
    if decided is not None:
        return decided
    if value.lie is None or value.lie.axis != axis:
        return call.mixed("goes through the rows as steps in time, or takes them beside a constant")
    lengths = call.optional(4)
    lying = [value]
    for index, given in enumerate(call.inputs):
        if given is None or index == 0:
            continue
        if index in states or given is lengths:
            if given.lie is None or given.lie.axis != (0 if given is lengths else axis):
                return call.mixed(f"has states or lengths for a fixed number of rows (input {index})")
            lying.append(given)
        elif not given.settled:
            return call.mixed(f"takes weights from the rows (input {index})")
    return different_lies(call, lying) or value


def attention(call: Call) -> list[Value]:
    """Attention of opset 23 on: the batch is axis 0 of all inputs, a mask broadcasts to its scores."""
    query, mask = call.value(0), call.optional(3)
    count = max(1, len(call.node.outputs))
    rest = [value for index, value in enumerate(call.inputs) if index != 3]
    decided = without_rows(call, call.inputs, None)
    if decided is not None:
        return [replace(decided, shape=query.shape if decided.settled else None)] * count
    for index, value in enumerate(call.inputs):
        if value is not None and index != 3 and (value.lie is None or value.lie.axis != 0):
            return [call.mixed("attends along the rows or beside a constant")] * count
    lying = [value for value in rest if value is not None]
    if mask is not None:
        refusal = _mask_refusal(call, mask)
        if refusal is not None:
            return [refusal] * count
        lying += [mask] if mask.lie is not None else []
    refusal = different_lies(call, lying)
    if refusal is not None:
        return [refusal] * count
    lie = Lie(0, lying[0].lie.outer, lying[0].lie.inner) if lying[0].lie else Lie(0)
    values = call.value(2)
    shape = query.shape
    if shape is not None:
        last: Dim = call.size("width")
        if len(shape) == 4 and values.shape is not None:
            last = values.shape[-1]
        elif query.shape == values.shape:
            last = shape[-1]
        shape = (*shape[:-1], last)
    states = (shape[0], *call.sizes(4)[1:]) if shape is not None else None
    return [rows(shape, lie), *[rows(states, lie)] * (count - 1)]


def _mask_refusal(call: Call, mask: Value) -> Value | None:
    if mask.rank is None:
        return call.unknown("takes a mask of an unknown rank")
    if mask.lie is not None:
        return None if mask.lie.axis == 0 and mask.rank == 4 else call.mixed("masks by other rows")
    if mask.rank == 4 and mask.shape is not None and mask.shape[0] != 1:
        return call.mixed("has masks for a fixed number of rows")
    return None


def rotary(call: Call) -> Value:
    """RotaryEmbedding: caches of positions are constants, or each row's own where there are no positions."""
    value = call.value(0)
    decided = without_rows(call, call.inputs, value.shape)
    if decided is not None:
        return decided
    if value.lie is None or value.lie.axis != 0:
        return call.mixed("turns along the rows", value.shape)
    lying = [value]
    for given in call.inputs[1:]:
        if given is not None and given.lie is not None:
            if given.lie.axis != 0:
                return call.mixed("turns by other rows", value.shape)
            lying.append(given)
        elif given is not None and given is call.optional(3) and given.rank != 0 and given.shape != (1,):
            return call.mixed("has positions for a fixed number of rows", value.shape)
    for cache in call.inputs[1:3]:
        if cache is None or call.has(3) or cache.lie is not None:
            continue
        if cache.shape is None or cache.shape[0] != 1:
            return call.mixed("has angles for a fixed number of rows", value.shape)
    return different_lies(call, lying) or relaid(value, value.shape, 0)


def linear_attention(call: Call) -> list[Value]:
    value = call.value(0)
    shape = None if value.shape is None else (*value.shape[:-1], call.size("width"))
    return [by_sample(call, shape, data=range(6)), by_sample(call, call.sizes(4), data=range(6))]


def stateful_convolution(call: Call) -> list[Value]:
    """CausalConvWithState: a convolution along time that goes on from each row's own state."""
    return [by_sample(call, call.value(0).shape, data=(0, 3)), by_sample(call, call.sizes(3), data=(0, 3))]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "Attention": attention,
    "RotaryEmbedding": rotary,
    "LinearAttention": linear_attention,
    "CausalConvWithState": stateful_convolution,
}
