"""Operators that compute each element from the matching elements of their inputs."""

from collections.abc import Callable
from functools import partial, reduce

from inferqueue_worker.graph.broadcasting import meet, relaid
from inferqueue_worker.graph.calls import Call, Rule
from inferqueue_worker.graph.elements import ARITHMETIC, cast, compute, to_array
from inferqueue_worker.graph.values import Element, Kind, Value, constant, holds_rows, ruined

_PLAIN = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Celu Clip Cos Cosh
Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log
Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal RegexFullMatch Relu Round Selu Shrink Sigmoid Sign Sin Sinh
Softplus Softsign Sqrt StringConcat Sub Sum SwiGLU Swish Tan Tanh ThresholdedRelu Where Xor Affine ParametricSoftplus
ScaledTanh
"""


def elementwise(call: Call) -> Value:
    """Computed element by element; small shapes are computed at once."""
    function = ARITHMETIC.get(call.node.operator) if not call.node.domain else None
    if function is not None and all(value is None or value.elements is not None for value in call.inputs):
        arrays = [to_array(value) for value in call.inputs if value is not None]
        known = [array for array in arrays if array is not None]
        if len(known) == len(arrays):
            return compute(partial(_of_all, function) if call.node.operator in ("Max", "Min") else function, known)
    result = meet(call, call.inputs)
    if call.node.operator == "Mul" and any(map(_is_nothing, call.inputs)) and result.shape is not None:
        # Integers times 0 are 0, whatever they depend on. A float times 0 may be NaN.
        return result if holds_rows(result.shape) else constant(result.shape)
    return result


def _is_nothing(value: Value | None) -> bool:
    elements = () if value is None else value.elements or ()
    return len(elements) > 0 and all(type(element) is int and element == 0 for element in elements)


def _of_all(function: Callable[..., Element], *elements: Element) -> Element:
    return reduce(function, elements)


def identity(call: Call) -> Value:
    return call.value(0)


def convert(call: Call) -> Value:
    """Cast and its like: row numbers stay what they are as integers."""
    value = call.value(0)
    kind = call.attribute("to") if call.node.operator == "Cast" else None
    array = to_array(value)
    if array is not None and isinstance(kind, int):
        return compute(lambda element: cast(element, kind), [array])
    if value.kind is Kind.NUMBERS and kind in (6, 7):
        return value
    return meet(call, [value])


def quantize(call: Call) -> Value:
    """QuantizeLinear and DequantizeLinear: scales are one for all, one for each entry of an axis, or for its blocks."""
    value, scale = call.value(0), call.value(1)
    if value.rank is None or value.lie is None or scale.rank == 0 or not scale.settled or scale.shape == (1,):
        return meet(call, call.inputs)
    if scale.rank == 1:
        axis = call.integer("axis", 1)
        axis = axis + value.rank if axis < 0 else axis
        if axis == value.lie.axis:
            return call.mixed("scales each row by a constant of its own")
        return relaid(value, value.shape, value.lie.axis)
    if scale.shape is not None and scale.shape[value.lie.axis] == 1 and call.integer("axis", 1) != value.lie.axis:
        return relaid(value, value.shape, value.lie.axis)
    return call.unknown("scales blocks of entries")


def drop_out(call: Call) -> list[Value]:
    """Dropout draws random numbers only in training."""
    value = call.value(0)
    training = call.optional(2)
    if call.version >= 12 and training is not None and training.elements != (False,):
        if training.elements == (True,):
            value = call.mixed("draws random numbers", value.shape)
        else:
            value = call.unknown("draws random numbers where its third input says so", value.shape)
    elif call.version < 7 and not call.integer("is_test"):
        value = call.unknown("is of a version that draws random numbers in training", value.shape)
    return [value, meet(call, [value])]


def draw(call: Call) -> Value:
    """Random numbers: what a row gets depends on when and beside whom it runs."""
    first = call.optional(0)
    like = call.node.operator.endswith("Like") or call.node.operator == "Bernoulli"
    return call.mixed("draws random numbers", first.shape if like and first is not None else None)


def scale_whole(call: Call) -> list[Value]:
    """DynamicQuantizeLinear: the scale is that of the whole tensor's range."""
    value = call.value(0)
    if value.settled or value.bad:
        return [relaid(value, value.shape), Value(value.kind, (), why=value.why), Value(value.kind, (), why=value.why)]
    why = "scales the rows by the range of the whole tensor"
    return [call.mixed(why, value.shape), call.mixed(why, ()), call.mixed(why, ())]


def window(call: Call) -> Value:
    """A constant made from sizes: windows of signal processing and filter banks."""
    for value in call.inputs:
        if value is not None and not value.settled:
            return ruined(value) if value.bad else call.mixed("takes a size from the rows")
    rank = 2 if call.node.operator == "MelWeightMatrix" else 1
    return constant(call.sizes(rank))


RULES: dict[str, Rule] = {
    **dict.fromkeys(_PLAIN.split(), elementwise),
    **dict.fromkeys(("Cast", "CastLike", "BitCast"), convert),
    "Identity": identity,
    "QuantizeLinear": quantize,
    "DequantizeLinear": quantize,
    "DynamicQuantizeLinear": scale_whole,
    "Dropout": drop_out,
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"), draw
    ),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"), window),
}
