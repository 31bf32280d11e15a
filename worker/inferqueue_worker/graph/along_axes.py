"""Operators that work along axes: whether the rows lie along one of them decides."""

from functools import reduce

import numpy as np

from inferqueue_worker.graph.broadcasting import meet, relaid, resized, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule, axis_of, data_dependent
from inferqueue_worker.graph.elements import REDUCTIONS, from_array, to_array
from inferqueue_worker.graph.sizes import Dim
from inferqueue_worker.graph.values import Value


def reduction(call: Call) -> Value:
    value = call.value(0)
    refused = data_dependent(call, [1], "its axes")
    if refused is not None:
        return refused
    axes = call.plain(1) if call.has(1) else call.integers("axes")
    if value.shape is None or (call.has(1) and axes is None):
        return relaid(value, None) if value.lie is None else call.unknown("reduces axes that are not known")
    if not axes:
        if call.integer("noop_with_empty_axes"):
            return meet(call, [value])
        axes = tuple(range(len(value.shape)))
    gone = {axis_of(axis, len(value.shape)) for axis in axes} if value.shape else set()
    keeps = call.integer("keepdims", 1)
    array, function = to_array(value), REDUCTIONS.get(call.node.operator)
    if array is not None and function is not None and array.ndim == 1 and array.size and gone == {0}:
        return from_array(np.array(reduce(function, array.tolist()), dtype=object).reshape([1] * keeps))
    return _reduced(call, value, gone, bool(keeps), "reduces")


def _reduced(call: Call, value: Value, gone: set[int], keeps: bool, verb: str) -> Value:
    assert value.shape is not None
    sizes: list[tuple[int, Dim]] = [(axis, 1 if axis in gone else size) for axis, size in enumerate(value.shape)]
    kept = [(axis, size) for axis, size in sizes if keeps or axis not in gone]
    shape = tuple(size for _, size in kept)
    decided = without_rows(call, [value], shape)
    if decided is not None or value.lie is None:
        return decided or relaid(value, shape)
    if value.lie.axis in gone:
        return call.mixed(f"{verb} axis {value.lie.axis}, along which the rows lie", shape)
    return relaid(value, shape, [axis for axis, _ in kept].index(value.lie.axis))


def arg_reduction(call: Call) -> Value:
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    axis = axis_of(call.integer("axis"), len(value.shape))
    return _reduced(call, value, {axis}, bool(call.integer("keepdims", 1)), "looks for the best entry along")


def along(call: Call, value: Value, axes: set[int], what: str) -> Value:
    """Return a value whose elements along `axes` depend on one another, in the shape that it had."""
    decided = without_rows(call, [value], value.shape)
    if decided is not None or value.lie is None:
        return decided or relaid(value, value.shape)
    if value.lie.axis in axes:
        return call.mixed(f"{what} axis {value.lie.axis}, along which the rows lie", value.shape)
    return relaid(value, value.shape, value.lie.axis)


def _each(call: Call, what: str, first: int, last: int | None) -> Value:
    """Work along the axes from `first` up to `last` (None: the end) of the first input."""
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    rank = len(value.shape)
    first = first + rank if first < 0 else first
    return along(call, value, set(range(first, rank if last is None else last)), what)


def softmax(call: Call) -> Value:
    """Softmax and its like: before version 13 they take all axes from `axis` on as one."""
    if call.version < 13:
        return _each(call, "normalizes from", call.integer("axis", 1), None)
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    return along(call, value, {axis_of(call.integer("axis", -1), len(value.shape))}, "normalizes along")


def lp_normalization(call: Call) -> Value:
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    return along(call, value, {axis_of(call.integer("axis", -1), len(value.shape))}, "normalizes along")


def cumulation(call: Call) -> Value:
    value, axis = call.value(0), call.plain(1)
    refused = data_dependent(call, [1], "its axis")
    if refused is not None:
        return refused
    if value.shape is None or axis is None:
        return relaid(value, value.shape) if value.lie is None else call.unknown("sums along an axis that is not known")
    return along(call, value, {axis_of(axis[0], len(value.shape))}, "sums along")


def layer_normalization(call: Call) -> list[Value]:
    """LayerNormalization and its like: from `axis` on; scale and bias are elementwise."""
    value = _each(call, "normalizes from", call.integer("axis", -1), None)
    scaled = meet(call, [value, *call.inputs[1:]])
    first = call.integer("axis", -1)
    shape = value.shape
    if shape is not None:
        first = first + len(shape) if first < 0 else first
        shape = tuple(1 if axis >= first else size for axis, size in enumerate(shape))
    moment = resized(value, shape)
    return [scaled, moment, moment, value][: max(1, len(call.node.outputs))]


def mean_variance(call: Call) -> Value:
    value = call.value(0)
    axes = call.integers("axes")
    if axes is None:
        axes = (0, 2, 3)
        if call.version < 9:
            axes = (0, 1, 2, 3) if call.integer("across_channels") else (0, 2, 3)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    return along(call, value, {axis_of(axis, len(value.shape)) for axis in axes}, "normalizes along")


def local_response(call: Call) -> Value:
    return _each(call, "normalizes along", 1, 2)


def batch_normalization(call: Call) -> list[Value]:
    """Means are constants, one for each channel along axis 1, unless it trains."""
    value = call.value(0)
    others = without_rows(call, list(call.inputs[1:]), None)
    trains = call.integer("training_mode") if call.version >= 14 else len(call.node.outputs) > 1
    if call.version < 7:
        trains = not call.integer("is_test")
    if value.lie is None or (others is not None and others.bad):
        result = without_rows(call, call.inputs, value.shape) or call.unknown(UNKNOWN_RANK)
    elif trains:
        result = call.mixed("is in training: it normalizes by the mean of all rows", value.shape)
    elif others is None or not others.settled:
        result = call.mixed("takes its statistics from the rows", value.shape)
    else:
        channels = {1} if call.version >= 9 or call.integer("spatial", 1) else set(range(1, value.rank or 1))
        result = along(call, value, channels, "has a mean for each entry of")
    statistic = Value(result.kind if result.bad else call.value(1).kind, call.value(1).shape, why=result.why)
    return [result, *[statistic] * (len(call.node.outputs) - 1)]


def top(call: Call) -> list[Value]:
    """TopK: the best entries along an axis, and where they were."""
    value = call.value(0)
    refused = data_dependent(call, [1], "how many entries it gives")
    if refused is not None:
        return [refused, refused]
    if value.shape is None:
        found = relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
        return [found, found]
    axis = axis_of(call.integer("axis", -1), len(value.shape))
    count = call.plain(1) if call.has(1) else (call.integer("k"),)
    size: Dim = call.size("how many") if count is None else count[0]
    shape = (*value.shape[:axis], size, *value.shape[axis + 1 :])
    found = along(call, value, {axis}, "sorts along")
    found = resized(found, shape)
    return [found, found]


_REDUCTIONS = """
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""
RULES: dict[str, Rule] = {
    **dict.fromkeys(_REDUCTIONS.split(), reduction),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    "LpNormalization": lp_normalization,
    **dict.fromkeys(("CumSum", "CumProd"), cumulation),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), layer_normalization),
    "MeanVarianceNormalization": mean_variance,
    "LRN": local_response,
    "BatchNormalization": batch_normalization,
    "TopK": top,
}
