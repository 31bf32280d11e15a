"""Layers of neural networks whose batch is one axis of their first input by definition."""

from collections.abc import Sequence
from math import ceil, floor

from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import different_lies, relaid, without_rows
from inferqueue_worker.graph.calls import Call, Rule
from inferqueue_worker.graph.sizes import Dim, Size, rows_in
from inferqueue_worker.graph.values import Kind, Lie, Shape, Value, rows

_UNKNOWN_RANK = "takes a tensor of an unknown rank"


def by_sample(
    call: Call, shape: Shape | None, *, data: Sequence[int] = (0,), axis: int = 0, result_axis: int | None = None
) -> Value:
    """Give the result of a layer that treats each entry along `axis` of its `data` inputs by itself.

    All other inputs must be the same for all rows. The rows lie along `result_axis` of the result.
    """
    decided = without_rows(call, call.inputs, shape)
    if decided is not None:
        return decided
    lying = []
    for index, value in enumerate(call.inputs):
        if value is None:
            continue
        if index not in data:
            if not value.settled:
                return call.mixed(f"takes weights from the rows (input {index})", shape)
        elif value.lie is None:
            return call.mixed(f"takes a fixed number of entries beside the rows (input {index})", shape)
        elif value.lie.axis != axis:
            return call.mixed(f"works along axis {value.lie.axis} of input {index}, along which the rows lie", shape)
        else:
            lying.append(value)
    refusal = different_lies(call, lying)
    if refusal is not None:
        return refusal
    lie = lying[0].lie
    assert lie is not None
    return rows(shape, replace(lie, axis=axis if result_axis is None else result_axis))


def _window_shape(call: Call, shape: Shape, kernel: Sequence[int] | None) -> Shape:
    """Give the sizes along the spatial axes of a convolution or pooling, where they can be computed."""
    space = len(shape) - 2
    strides = call.integers("strides") or (1,) * space
    dilations = call.integers("dilations") or (1,) * space
    pads = call.integers("pads") or (0,) * (2 * space)
    auto = call.text("auto_pad", "NOTSET")
    sizes: list[Dim] = []
    for axis in range(space):
        size = shape[axis + 2]
        if kernel is None or not isinstance(size, int):
            same = kernel is not None and _keeps(kernel[axis], strides[axis], dilations[axis], pads, axis, auto)
            sizes.append(size if same else call.size(f"window {axis}"))
            continue
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        rounded = ceil if call.integer("ceil_mode") else floor
        if auto.startswith("SAME"):
            sizes.append(ceil(size / strides[axis]))
        elif auto == "VALID":
            sizes.append(floor((size - reach) / strides[axis]) + 1)
        else:
            steps = rounded((size + pads[axis] + pads[axis + space] - reach) / strides[axis])
            # The last window must begin within the tensor or its padding at the start.
            if call.integer("ceil_mode") and steps * strides[axis] >= size + pads[axis]:
                steps -= 1
            sizes.append(steps + 1)
    return tuple(sizes)


def _keeps(kernel: int, stride: int, dilation: int, pads: Sequence[int], axis: int, auto: str) -> bool:
    reach = dilation * (kernel - 1)
    padded = pads[axis] + pads[axis + len(pads) // 2] == reach
    return stride == 1 and (padded if auto in ("NOTSET", "") else auto.startswith("SAME"))


def convolution(call: Call) -> Value:
    value, weights = call.value(0), call.value(3 if call.node.operator == "QLinearConv" else 1)
    shape = None
    if value.shape is not None and len(value.shape) > 2:
        kernel = call.integers("kernel_shape")
        if kernel is None and weights.shape is not None and all(isinstance(size, int) for size in weights.shape[2:]):
            kernel = tuple(size for size in weights.shape[2:] if isinstance(size, int))
        channels = call.size("channels") if weights.shape is None else weights.shape[0]
        shape = (value.shape[0], channels, *_window_shape(call, value.shape, kernel))
    return by_sample(call, shape)


def transposed_convolution(call: Call) -> Value:
    value, weights = call.value(0), call.value(1)
    shape = None
    if value.shape is not None:
        shape = (value.shape[0], *call.sizes(len(value.shape))[1:])
        if weights.shape is not None and isinstance(weights.shape[1], int):
            shape = (shape[0], weights.shape[1] * call.integer("group", 1), *shape[2:])
    return by_sample(call, shape)


def deformed_convolution(call: Call) -> Value:
    value = call.value(0)
    shape = None if value.shape is None else (value.shape[0], *call.sizes(len(value.shape))[1:])
    return by_sample(call, shape, data=(0, 2, 4))


def columns_to_image(call: Call) -> Value:
    sizes = call.plain(1)
    value = call.value(0)
    rank = 2 + len(sizes) if sizes else None
    shape = None if rank is None or value.shape is None else (value.shape[0], *call.sizes(rank)[1:])
    return by_sample(call, shape)


def pooling(call: Call) -> list[Value]:
    """MaxPool and its like; the indices of MaxPool count through the tensor of all rows."""
    value = call.value(0)
    shape = None
    if value.shape is not None and len(value.shape) > 2:
        shape = (*value.shape[:2], *_window_shape(call, value.shape, call.integers("kernel_shape")))
    pooled = _in_channels(call, value, shape)
    if len(call.node.outputs) < 2 or not call.node.outputs[1]:
        return [pooled]
    if pooled.lie is None:
        return [pooled, pooled]
    return [pooled, call.mixed("gives indices that count through all rows", shape)]


def _in_channels(call: Call, value: Value, shape: Shape | None) -> Value:
    """Rows may lie along the batch or the channels of what is pooled."""
    decided = without_rows(call, call.inputs, shape)
    if decided is not None or value.lie is None:
        return decided or call.mixed("takes weights from the rows", shape)
    if value.lie.axis > 1:
        return call.mixed(f"pools along axis {value.lie.axis}, along which the rows lie", shape)
    return relaid(value, shape, value.lie.axis)


def global_pooling(call: Call) -> Value:
    value = call.value(0)
    shape = None if value.shape is None else (*value.shape[:2], *[1] * (len(value.shape) - 2))
    return _in_channels(call, value, shape)


def unpool(call: Call) -> Value:
    value = call.value(0)
    decided = without_rows(call, call.inputs, None if value.shape is None else call.sizes(len(value.shape)))
    return decided or call.mixed("takes indices that count through all rows")


def instance_normalization(call: Call) -> Value:
    """InstanceNormalization and GroupNormalization: each row by itself along axis 0."""
    return by_sample(call, call.value(0).shape)


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
        own = cache is not None and not call.has(3) and cache.lie is None
        if own and (cache.shape is None or cache.shape[0] != 1):
            return call.mixed("has angles for a fixed number of rows", value.shape)
    return different_lies(call, lying) or relaid(value, value.shape, 0)


def grid_sample(call: Call) -> Value:
    value, grid = call.value(0), call.value(1)
    shape = None
    if value.shape is not None and grid.shape is not None:
        shape = (*value.shape[:2], *grid.shape[1:-1])
    return by_sample(call, shape, data=(0, 1))


def affine_grid(call: Call) -> Value:
    theta, sizes = call.value(0), call.value(1)
    shape = None
    if sizes.elements is not None and all(isinstance(size, (int, Size)) for size in sizes.elements):
        shape = (*sizes.elements[:1], *sizes.elements[2:], len(sizes.elements) - 2)
    if theta.lie is not None and sizes.kind is Kind.COUNT:
        if shape is None or theta.lie != Lie(0) or shape[0] != theta.lie.size or any(map(rows_in, shape[1:])):
            return call.mixed("makes grids for another number of rows")
        return rows(shape, theta.lie)
    decided = without_rows(call, call.inputs, shape)
    return decided or call.mixed("makes a fixed number of grids")


def regions(call: Call) -> Value:
    """RoiAlign and MaxRoiPool: regions name the row that they are cut from."""
    value, boxes = call.value(0), call.value(1)
    shape = None
    if value.shape is not None and boxes.shape is not None:
        shape = (boxes.shape[0], value.shape[1], *call.sizes(4)[2:])
    numbers = call.optional(2)
    own = numbers is not None and numbers.kind is Kind.NUMBERS and numbers.lie == Lie(0) and numbers.numbers is None
    if own and value.lie == Lie(0) == boxes.lie and value.kind is boxes.kind is Kind.ROWS:
        return rows(shape, Lie(0))
    decided = without_rows(call, call.inputs, shape)
    if decided is not None:
        return decided
    in_constant = value.settled and boxes.lie is not None and boxes.lie.axis == 0
    if in_constant and boxes.lie is not None and (numbers is None or numbers.lie == boxes.lie):
        return rows(shape, boxes.lie)
    return call.mixed("cuts regions from rows that the regions name", shape)


def loss(call: Call) -> list[Value]:
    """Losses: with reduction `none` each row has its own."""
    scores, labels = call.value(0), call.value(1)
    probability = by_sample(call, scores.shape, data=(0, 1))
    if call.text("reduction", "mean") == "none":
        shape = None if scores.shape is None else (*scores.shape[:1], *scores.shape[2:])
        return [relaid(probability, shape, probability.lie.axis if probability.lie else None), probability]
    if probability.lie is None:
        return [relaid(probability, ()), probability]
    return [call.mixed("adds up the losses of all rows", () if labels else None), probability]


def fourier(call: Call) -> Value:
    """DFT: along one axis, with its length as a constant."""
    value = call.value(0)
    for index in (1, 2):
        found = call.optional(index)
        if found is not None and not found.settled:
            return found if found.bad else call.mixed("takes its length or axis from the rows")
    given = call.plain(2)
    if call.version >= 20 and call.has(2) and given is None:
        return relaid(value, None) if value.lie is None else call.unknown("works along an axis that is not known")
    axis = (given or (-2,))[0] if call.version >= 20 else call.integer("axis", 1)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(_UNKNOWN_RANK)
    rank = len(value.shape)
    axis = axis + rank if axis < 0 else axis
    decided = without_rows(call, [value], None)
    shape = tuple(call.size(f"axis {place}") if place in (axis, rank - 1) else s for place, s in enumerate(value.shape))
    if decided is not None or value.lie is None:
        return relaid(decided or value, shape)
    if value.lie.axis in (axis, rank - 1):
        return call.mixed("transforms along the rows", shape)
    return relaid(value, shape, value.lie.axis)


def short_fourier(call: Call) -> Value:
    value = call.value(0)
    return by_sample(call, None if value.shape is None else (value.shape[0], *call.sizes(4)[1:]))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "FusedConv"), convolution),
    "ConvTranspose": transposed_convolution,
    "DeformConv": deformed_convolution,
    "Col2Im": columns_to_image,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), pooling),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"), global_pooling),
    "MaxUnpool": unpool,
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), instance_normalization),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "Attention": attention,
    "RotaryEmbedding": rotary,
    "GridSample": grid_sample,
    "AffineGrid": affine_grid,
    **dict.fromkeys(("RoiAlign", "MaxRoiPool"), regions),
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), loss),
    "DFT": fourier,
    "STFT": short_fourier,
}
