"""Sums of products: matrix products and Einstein sums."""

from collections.abc import Hashable, Sequence

from inferqueue_worker.graph.broadcasting import broadcast, contract, meet, without_rows
from inferqueue_worker.graph.calls import UNKNOWN_RANK, Call, Rule
from inferqueue_worker.graph.sizes import Dim
from inferqueue_worker.graph.values import Shape, Value, ruined


def matrix_product(call: Call, one: Value, other: Value, *, flips: tuple[bool, bool] = (False, False)) -> Value:
    """Multiply as numpy.matmul does, each input with its last two axes changed for one another where it flips."""
    if one.shape is None or other.shape is None:
        return without_rows(call, [one, other], None) or call.unknown(UNKNOWN_RANK)
    left = _labels(len(one.shape), "row", "sum", flips=flips[0], vector="sum")
    right = _labels(len(other.shape), "sum", "column", flips=flips[1], vector="sum")
    stacks = broadcast([one.shape[:-2], other.shape[:-2]])
    labels: list[Hashable] = list(range(len(stacks or ()), 0, -1))
    result = (
        labels + [label for label in ("row",) if label in left] + [label for label in ("column",) if label in right]
    )
    sizes = dict(zip(left, one.shape, strict=True)) | dict(zip(right, other.shape, strict=True))
    shape = None if stacks is None else (*stacks, *(sizes[label] for label in result[len(labels) :]))
    if stacks is None:
        places = max(len(one.shape), len(other.shape)) - 2
        result = list(range(places, 0, -1)) + result[len(labels) :]
    return contract(call, [(one, left), (other, right)], result, shape)


def _labels(rank: int, first: str, second: str, *, flips: bool, vector: str) -> list[Hashable]:
    if rank == 1:
        return [vector]
    matrix: list[Hashable] = [second, first] if flips else [first, second]
    return [*range(rank - 2, 0, -1), *matrix]


def multiply(call: Call) -> Value:
    return matrix_product(call, call.value(0), call.value(1))


def multiply_integers(call: Call) -> Value:
    """MatMulInteger: the zero points are constants, or each row's own."""
    result = matrix_product(call, call.value(0), call.value(1))
    return _with_constants(call, result, call.inputs[2:])


def multiply_quantized(call: Call) -> Value:
    result = matrix_product(call, call.value(0), call.value(3))
    return _with_constants(call, result, [*call.inputs[1:3], *call.inputs[4:]])


def _with_constants(call: Call, result: Value, settings: Sequence[Value | None]) -> Value:
    """Return the result, unless a scale or a zero point is not the same for all rows."""
    for value in settings:
        if value is not None and not value.settled:
            return ruined(value) if value.bad else call.mixed("takes its scale from the rows", result.shape)
        if value is not None and value.shape not in ((), (1,)) and _per_row(value, result):
            return call.unknown("scales by several constants", result.shape)
    return result


def _per_row(value: Value, result: Value) -> bool:
    """Whether a scale of several entries may lie along the rows of a matrix product rather than along its columns."""
    return (
        result.lie is not None
        and result.shape is not None
        and result.lie.axis == len(result.shape) - 2
        and (value.shape is None or len(value.shape) > 1 or value.shape[-1] != result.shape[-1])
    )


def gemm(call: Call) -> Value:
    flips = bool(call.integer("transA")), bool(call.integer("transB"))
    result = matrix_product(call, call.value(0), call.value(1), flips=flips)
    return meet(call, [result, call.optional(2)])


def einsum(call: Call) -> Value:
    equation = call.text("equation").replace(" ", "")
    terms, arrow, given = equation.partition("->")
    operands = []
    values = [value for value in call.inputs if value is not None]
    sizes: dict[Hashable, Dim] = {}
    dots = 0
    for term, value in zip(terms.split(","), values, strict=True):
        if value.shape is None:
            return without_rows(call, values, None) or call.unknown(UNKNOWN_RANK)
        hidden = len(value.shape) - len(term.replace("...", ""))
        dots = max(dots, hidden)
        labels = _einsum_labels(term, hidden)
        for label, size in zip(labels, value.shape, strict=True):
            if sizes.get(label, 1) == 1:
                sizes[label] = size
        operands.append((value, labels))
    if not arrow:
        letters = sorted({letter for letter in terms if letter.isalpha() and terms.count(letter) == 1})
        given = "..." * ("..." in terms) + "".join(letters)
    result = _einsum_labels(given, dots)
    shape: Shape = tuple(sizes[label] for label in result)
    return contract(call, operands, result, shape)


def _einsum_labels(term: str, hidden: int) -> list[Hashable]:
    before, dots, after = term.partition("...")
    return [*before, *(range(hidden, 0, -1) if dots else ()), *after]


def determinant(call: Call) -> Value:
    value = call.value(0)
    shape = None if value.shape is None else value.shape[:-2]
    decided = without_rows(call, [value], shape)
    if decided is not None or value.lie is None or shape is None:
        return decided or call.unknown(UNKNOWN_RANK)
    labels: list[Hashable] = list(range(len(shape) + 2))
    return contract(call, [(value, labels)], labels[:-2], shape)


RULES: dict[str, Rule] = {
    "MatMul": multiply,
    "MatMulInteger": multiply_integers,
    "QLinearMatMul": multiply_quantized,
    "Gemm": gemm,
    "Einsum": einsum,
    "Det": determinant,
}
