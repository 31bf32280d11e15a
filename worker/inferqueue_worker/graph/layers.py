"""Layers of neural networks whose batch is one axis of their first input by definition."""

from collections.abc import Sequence
from math import ceil, floor

from msgspec.structs import replace

from inferqueue_worker.graph.broadcasting import different_lies, relaid, resized, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule
from inferqueue_worker.graph.sizes import Dim
from inferqueue_worker.graph.values import Shape, Value, rows, ruined


def by_sample(
    call: Call, shape: Shape | None, *, data: Sequence[int] = (0,), axis: int = 0, result_axis: int | None = None
) -> Value:
    """Return the result of a layer that treats each entry along `axis` of its `data` inputs by itself.

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
    """Return the sizes along the spatial axes of a convolution or pooling, where they can be computed."""
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
    if decided is not None:
        return decided
    if value.lie is None or not all(given is None or given is value or given.settled for given in call.inputs):
        return call.mixed("takes weights from the rows", shape)
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


def loss(call: Call) -> list[Value]:
    """Losses: with reduction `none` each row has its own."""
    scores = call.value(0)
    probability = by_sample(call, scores.shape, data=(0, 1))
    if call.text("reduction", "mean") == "none":
        shape = None if scores.shape is None else (*scores.shape[:1], *scores.shape[2:])
        return [resized(probability, shape), probability]
    if probability.lie is None:
        return [relaid(probability, ()), probability]
    return [call.mixed("adds up the losses of all rows", ()), probability]


def fourier(call: Call) -> Value:
    """DFT: along one axis, with its length as a constant."""
    value = call.value(0)
    for index in (1, 2):
        found = call.optional(index)
        if found is not None and not found.settled:
            return ruined(found) if found.bad else call.mixed("takes its length or axis from the rows")
    given = call.plain(2)
    if call.version >= 20 and call.has(2) and given is None:
        return relaid(value, None) if value.lie is None else call.unknown("works along an axis that is not known")
    axis = (given or (-2,))[0] if call.version >= 20 else call.integer("axis", 1)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
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
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), loss),
    "DFT": fourier,
    "STFT": short_fourier,
}
