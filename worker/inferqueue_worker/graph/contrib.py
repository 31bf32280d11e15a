"""ONNX Runtime's own operators, of the domain com.microsoft. What is not listed here is an operator nobody knows."""

from collections.abc import Sequence

from msgspec.structs import replace

from inferqueue_worker.graph import along_axes, cuts, elementwise, filling, images, indexing, layers, learning, products
from inferqueue_worker.graph.broadcasting import different_lies, meet, relaid, resized, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule
from inferqueue_worker.graph.products import matrix_product
from inferqueue_worker.graph.sizes import Dim
from inferqueue_worker.graph.values import Shape, Value, rows, ruined


def _quantized(call: Call, values: Sequence[int]) -> Value:
    """Meet at the inputs of these places; the others are scales and zero points."""
    for index, value in enumerate(call.inputs):
        if value is not None and index not in values and not value.settled:
            return ruined(value) if value.bad else call.mixed("takes its scale from the rows")
    return meet(call, [call.optional(index) for index in values])


def quantized_pair(call: Call) -> Value:
    return _quantized(call, (0, 3))


def quantized_one(call: Call) -> Value:
    return _quantized(call, (0,))


def quantized_choice(call: Call) -> Value:
    return _quantized(call, (0, 1, 4))


def quantized_softmax(call: Call) -> Value:
    value = _quantized(call, (0,))
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    axis = call.integer("axis", -1)
    axis = axis + len(value.shape) if axis < 0 else axis
    # Before opset 13 all axes from this one on are one.
    last = axis + 1 if call.integer("opset", 13) >= 13 else len(value.shape)
    return along_axes.along(call, value, set(range(axis, last)), "normalizes along")


def quantized_concat(call: Call) -> Value:
    """QLinearConcat: scale and zero point of the result, then a tensor, its scale and its zero point each."""
    tensors = [call.value(index) for index in range(2, len(call.inputs), 3)]
    settings = [value for index, value in enumerate(call.inputs) if index < 2 or index % 3 != 2]
    decided = without_rows(call, settings, None)
    if decided is None or not decided.settled:
        return ruined(decided) if decided is not None and decided.bad else call.mixed("takes its scale from the rows")
    inner = Call(call.node, tensors, 13, call.place)
    return cuts.concat(inner)


def fused_product(call: Call) -> Value:
    """FusedMatMul and its like, with the last two axes of an input changed for one another where they say so."""
    if call.integer("transBatchA") or call.integer("transBatchB"):
        return call.unknown("moves its first axis")
    one, other = call.value(0), call.value(1)
    flips = tuple(
        bool(call.integer(name)) and (value.rank or 0) > 1 for name, value in (("transA", one), ("transB", other))
    )
    return matrix_product(call, one, other, flips=(flips[0], flips[1]))


def fused_gemm(call: Call) -> Value:
    return products.gemm(call)


def integers_to_floats(call: Call) -> Value:
    """MatMulIntegerToFloat: scales are one for all, or each row's own."""
    result = matrix_product(call, call.value(0), call.value(1))
    settings = [call.optional(index) for index in range(2, 6)]
    for value in settings:
        if value is not None and not value.settled:
            return ruined(value) if value.bad else call.unknown("takes its scale from the rows", result.shape)
    return meet(call, [result, call.optional(6)])


def scaled_whole(call: Call) -> Value:
    """DynamicQuantizeMatMul and DynamicQuantizeLSTM: the scale is that of the range of all rows."""
    decided = without_rows(call, call.inputs, None)
    return decided or call.mixed("scales the rows by the range of the whole tensor")


def packed_weights(call: Call) -> Value:
    """MatMulNBits and its like: N columns out of constants."""
    value = call.value(0)
    width: Dim = call.attribute("N") or call.size("width")
    shape = None if value.shape is None else (*value.shape[:-1], width)
    for given in call.inputs[1:]:
        if given is not None and not given.settled:
            return ruined(given) if given.bad else call.mixed("takes weights from the rows", shape)
    decided = without_rows(call, [value], shape)
    if decided is not None or value.lie is None or value.shape is None:
        return decided or call.unknown(UNKNOWN_RANK)
    if value.lie.axis == len(value.shape) - 1:
        return call.mixed("sums over the rows", shape)
    return relaid(value, shape, value.lie.axis)


def skip_normalization(call: Call) -> list[Value]:
    """SkipLayerNormalization and its like: the last axis of the sum; its fourth output is the sum."""
    value = call.value(0)
    together = meet(call, [value, call.value(1)])
    if together.shape is None:
        return [together if together.lie is None else call.unknown(UNKNOWN_RANK)] * 4
    normal = along_axes.along(call, together, {len(together.shape) - 1}, "normalizes along")
    normal = meet(call, [normal, *call.inputs[2:]])
    moment = resized(normal, (*together.shape[:-1], 1))
    return [normal, moment, moment, meet(call, [together, call.optional(4)])][: len(call.node.outputs)]


def embed(call: Call) -> list[Value]:
    """EmbedLayerNormalization: token and segment numbers, tables, mask, positions; all of a row from that row."""
    tokens = call.value(0)
    shape = None if tokens.shape is None else (*tokens.shape, call.size("width"))
    result = layers.by_sample(call, shape, data=(0, 1, 7, 8) if call.has(7) and call.value(7).lie else (0, 1, 8))
    counts = resized(result, None if shape is None else shape[:1])
    return [result, counts, result][: len(call.node.outputs)]


def attend(call: Call) -> list[Value]:
    """Attention with its own weights: input, weights, bias, mask, past, bias of scores, length of the past."""
    value = call.value(0)
    shape: Shape | None = None
    if value.shape is not None:
        sizes = call.integers("qkv_hidden_sizes")
        bias = call.optional(2)
        width: Dim = call.size("width")
        if sizes:
            width = sizes[-1]
        elif bias is not None and bias.shape is not None and isinstance(bias.shape[0], int):
            width = bias.shape[0] // 3
        shape = (*value.shape[:-1], width)
    mask, past, scores = call.optional(3), call.optional(4), call.optional(5)
    return _attention(
        call, [value], [call.optional(1), call.optional(2), call.optional(6)], [mask], [past], scores, shape
    )


def attend_quantized(call: Call) -> list[Value]:
    """QAttention: input, weights, bias, two scales, mask, two zero points, past."""
    value = call.value(0)
    shape: Shape | None = None if value.shape is None else (*value.shape[:-1], call.size("width"))
    bias = call.optional(2)
    if shape is not None and bias is not None and bias.shape is not None and isinstance(bias.shape[0], int):
        shape = (*shape[:-1], bias.shape[0] // 3)
    settings = [call.optional(index) for index in (1, 2, 3, 4, 6, 7)]
    return _attention(call, [value], settings, [call.optional(5)], [call.optional(8)], None, shape)


def attend_many(call: Call) -> list[Value]:
    """MultiHeadAttention: query, key, value, bias, mask, bias of scores, past keys and values."""
    query = call.value(0)
    given = [call.optional(index) for index in (0, 1, 2, 6, 7)]
    value = call.optional(2)
    shape: Shape | None = None
    if query.shape is not None and len(query.shape) == 3:
        width = value.shape[-1] if value is not None and value.shape is not None and len(value.shape) == 3 else None
        shape = (*query.shape[:-1], width if width is not None else call.size("width"))
    elif query.shape is not None:
        shape = (*query.shape[:2], call.size("width"))
    return _attention(call, given, [call.optional(3)], [call.optional(4)], [], call.optional(5), shape)


def _attention(
    call: Call,
    data: Sequence[Value | None],
    settings: Sequence[Value | None],
    masks: Sequence[Value | None],
    pasts: Sequence[Value | None],
    scores: Value | None,
    shape: Shape | None,
) -> list[Value]:
    count = len(call.node.outputs)
    decided = without_rows(call, call.inputs, shape)
    if decided is not None:
        return [decided, *[replace(decided, shape=None)] * (count - 1)]
    refusal = _attention_refusal(call, data, settings, masks, pasts, scores)
    if refusal is not None:
        return [refusal] * count
    lie = next(value.lie for value in data if value is not None and value.lie is not None)
    # Keys and values come stacked along a first axis where the past does.
    state = replace(lie, axis=1 if pasts or call.node.operator == "Attention" else 0)
    return [rows(shape, lie), *[rows(call.sizes(5 if pasts else 4), state)] * (count - 1)]


def _attention_refusal(
    call: Call,
    data: Sequence[Value | None],
    settings: Sequence[Value | None],
    masks: Sequence[Value | None],
    pasts: Sequence[Value | None],
    scores: Value | None,
) -> Value | None:
    if any(value is not None and not value.settled for value in settings):
        return call.mixed("takes weights from the rows")
    lying = []
    for values, axis in ((data, 0), (masks, 0), (pasts, 1)):
        for value in values:
            if value is None:
                continue
            if value.lie is None or value.lie.axis != axis:
                return call.mixed("attends along the rows or beside a constant")
            lying.append(value)
    for mask in masks:
        if mask is not None and (mask.rank is None or mask.rank < 2):
            return call.unknown("takes a mask of lengths")
    if scores is not None and scores.lie is None and scores.shape is not None and scores.shape[0] != 1:
        return call.mixed("has scores for a fixed number of rows")
    if scores is not None and scores.lie is not None:
        if scores.lie.axis != 0:
            return call.mixed("scores by other rows")
        lying.append(scores)
    return different_lies(call, lying)


def token_positions(call: Call) -> Value:
    """RotaryEmbedding: input, positions (one for all, or a row's own), and tables of angles."""
    value, positions = call.value(0), call.value(1)
    decided = without_rows(call, call.inputs, value.shape)
    if decided is not None:
        return decided
    if value.lie is None or value.lie.axis != 0 or any(table is not None and table.lie for table in call.inputs[2:]):
        return call.mixed("turns along the rows", value.shape)
    if positions.lie is None and positions.shape not in ((), (1,)):
        return call.mixed("has positions for a fixed number of rows", value.shape)
    if positions.lie is not None and positions.lie.axis != 0:
        return call.mixed("turns by other rows", value.shape)
    return different_lies(call, [value, *([positions] if positions.lie else [])]) or relaid(value, value.shape, 0)


def group_normalization(call: Call) -> Value:
    return layers.by_sample(call, call.value(0).shape)


def last_axes(call: Call) -> Value:
    """Inverse: matrices along the last two axes."""
    value = call.value(0)
    if value.shape is None:
        return relaid(value, None) if value.lie is None else call.unknown(UNKNOWN_RANK)
    rank = len(value.shape)
    return along_axes.along(call, value, {rank - 1, rank - 2}, "inverts along")


def biased_gate(call: Call) -> Value:
    """BiasSplitGelu: halves the last axis."""
    value = meet(call, call.inputs)
    if value.shape is None or (value.lie is not None and value.lie.axis == len(value.shape) - 1):
        return ruined(value) if value.bad else call.unknown("halves an axis that is not known")
    return resized(value, (*value.shape[:-1], call.size("half")))


def all_finite(call: Call) -> Value:
    decided = without_rows(call, call.inputs, ())
    return decided or call.mixed("looks at all rows together", ())


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "BiasAdd", "ScaledSiLU", "MulInteger", "MurmurHash3"),
        elementwise.elementwise,
    ),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), quantized_pair),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu"), quantized_one),
    "QLinearWhere": quantized_choice,
    "QLinearSoftmax": quantized_softmax,
    "QLinearConcat": quantized_concat,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), elementwise.quantize),
    **dict.fromkeys(("FusedConv", "QLinearConv"), layers.convolution),
    "QLinearAveragePool": layers.pooling,
    "QLinearGlobalAveragePool": layers.global_pooling,
    **dict.fromkeys(("FusedMatMul", "TransposeMatMul"), fused_product),
    "FusedGemm": fused_gemm,
    "MatMulInteger16": products.multiply,
    "MatMulIntegerToFloat": integers_to_floats,
    **dict.fromkeys(("DynamicQuantizeMatMul", "DynamicQuantizeLSTM"), scaled_whole),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4"), packed_weights),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), skip_normalization),
    "EmbedLayerNormalization": embed,
    "Attention": attend,
    "QAttention": attend_quantized,
    "MultiHeadAttention": attend_many,
    "RotaryEmbedding": token_positions,
    "GroupNorm": group_normalization,
    "Inverse": last_axes,
    "BiasSplitGelu": biased_gate,
    "IsAllFinite": all_finite,
    "Tokenizer": learning.tokenize,
    "GridSample": images.grid_sample,
    "GatherND": indexing.gather_nd,
    "Trilu": cuts.trilu,
    "Pad": cuts.pad,
    "Unique": indexing.RULES["Unique"],
    "Range": filling.count_up,
}
