"""Arithmetic on the elements of shapes: numbers, sizes that no batch changes, and the number of rows.

What is no product of sizes becomes a name made of its terms, so that what is computed twice alike is equal. What
depends on the number of rows but is no product of it is None.
"""

from collections.abc import Callable
from math import ceil, floor
from typing import Any

import numpy as np

from inferqueue_worker.graph.sizes import Size, named, quotient, times
from inferqueue_worker.graph.values import Element, Value, constant

Elements = np.ndarray[Any, Any]
MOST_ELEMENTS = 1024


def to_array(value: Value) -> Elements | None:
    """Return a value's elements in its shape; None where they are not known."""
    if value.elements is None or value.shape is None:
        return None
    array = np.empty(len(value.elements), dtype=object)
    array[:] = value.elements
    return array.reshape([size for size in value.shape if isinstance(size, int)])


def from_array(array: Elements) -> Value:
    array = np.asarray(array, dtype=object)
    elements = array.reshape(-1).tolist() if array.size <= MOST_ELEMENTS else None
    return constant(array.shape, elements)


def _number(element: Element) -> bool:
    return isinstance(element, (int, float))


def _named(operator: str, *operands: Element) -> Element:
    """Return the name of what cannot be computed; None where the number of rows is in it."""
    if any(operand is None or (isinstance(operand, Size) and operand.rows) for operand in operands):
        return None
    return named(f"({operator.join(map(str, operands))})")


def _add(one: Element, other: Element) -> Element:
    if _number(one) and _number(other):
        return one + other
    if one == 0 or other == 0:
        return other if one == 0 else one
    if _alike(one, other):
        return times(one.factor + other.factor, Size(1, one.names, one.rows))
    return _named("+", *sorted((one, other), key=str))


def _subtract(one: Element, other: Element) -> Element:
    if _number(one) and _number(other):
        return one - other
    if other == 0:
        return one
    if _alike(one, other):
        return times(one.factor - other.factor, Size(1, one.names, one.rows))
    return _named("-", one, other)


def _alike(one: Element, other: Element) -> bool:
    sizes = isinstance(one, Size) and isinstance(other, Size)
    return sizes and (one.names, one.rows) == (other.names, other.rows)


def _whole(element: Element) -> Element:
    return int(element) if isinstance(element, float) and element.is_integer() else element


def _multiply(one: Element, other: Element) -> Element:
    if _number(one) and _number(other):
        return one * other
    whole = _whole(one), _whole(other)
    if all(isinstance(factor, (int, Size)) for factor in whole):
        return times(*whole)
    return _named("*", *sorted((one, other), key=str))


def _divide(one: Element, other: Element) -> Element:
    if _number(one) and _number(other):
        if other == 0:
            return _named("/", one, other)
        if isinstance(one, float) or isinstance(other, float):
            return one / other
        return int(abs(one) // abs(other)) * (1 if (one < 0) == (other < 0) else -1)
    whole = _whole(one), _whole(other)
    if all(isinstance(part, (int, Size)) for part in whole) and whole[1] != 0:
        exact = quotient(*whole)
        if exact is not None:
            return exact
    return _named("/", one, other)


def _modulo(one: Element, other: Element) -> Element:
    if _number(one) and _number(other) and one >= 0 and other > 0:
        return one % other
    if isinstance(one, Size) and isinstance(other, (int, Size)) and other != 0 and quotient(one, other) is not None:
        return 0
    return _named("%", one, other)


def _choose(name: str, choose: Callable[[Element, Element], Element]) -> Callable[[Element, Element], Element]:
    def chosen(one: Element, other: Element) -> Element:
        if _number(one) and _number(other):
            return choose(one, other)
        if one is not None and one == other:
            return one
        return _named(f" {name} ", *sorted((one, other), key=str))

    return chosen


def _sign_known(element: Element) -> bool:
    """Whether an element is a size of an axis, which is never negative."""
    return isinstance(element, Size) and element.factor > 0 and not any("(" in name for name in element.names)


def _equal(one: Element, other: Element) -> Element:
    if _number(one) and _number(other):
        return one == other
    if one is not None and one == other:
        return True
    for size, number in ((one, other), (other, one)):
        if _sign_known(size) and _number(number) and number < 0:
            return False
    return _named("=", *sorted((one, other), key=str))


def _less(one: Element, other: Element) -> Element:
    if _number(one) and _number(other):
        return one < other
    if (one is not None and one == other) or (_sign_known(one) and _number(other) and other <= 0):
        return False
    if _sign_known(other) and _number(one) and one < 0:
        return True
    return _named("<", one, other)


def _negate(element: Element) -> Element:
    return not element if isinstance(element, bool) else _named("", "not ", element)


def _and(one: Element, other: Element) -> Element:
    if isinstance(one, bool):
        return other if one else False
    if isinstance(other, bool):
        return one if other else False
    return _named("&", one, other)


def _where(condition: Element, one: Element, other: Element) -> Element:
    if isinstance(condition, bool):
        return one if condition else other
    if one is not None and one == other:
        return one
    return _named("?", condition, one, other)


def _rounded(name: str, rounded: Callable[[float], int]) -> Callable[[Element], Element]:
    def result(element: Element) -> Element:
        if isinstance(element, float):
            return float(rounded(element))
        return element if isinstance(element, int) or _sign_known(element) else _named("", f"{name} ", element)

    return result


def cast(element: Element, kind: int) -> Element:
    """Return an element as ONNX's data type `kind`."""
    if kind in (1, 10, 11, 16):
        return float(element) if _number(element) else element
    if kind == 9:
        return bool(element) if _number(element) else _named("", "bool ", element)
    if kind in (2, 3, 4, 5, 6, 7, 12, 13):
        return int(element) if _number(element) else _rounded("int", int)(element)
    return _named("", f"type {kind} ", element)


ARITHMETIC: dict[str, Callable[..., Element]] = {
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Mod": _modulo,
    "Max": _choose("max", max),
    "Min": _choose("min", min),
    "Equal": _equal,
    "Less": _less,
    "Greater": lambda one, other: _less(other, one),
    "LessOrEqual": lambda one, other: _negate(_less(other, one)),
    "GreaterOrEqual": lambda one, other: _negate(_less(one, other)),
    "Not": _negate,
    "And": _and,
    "Or": lambda one, other: _negate(_and(_negate(one), _negate(other))),
    "Where": _where,
    "Neg": lambda element: _subtract(0, element),
    "Floor": _rounded("floor", floor),
    "Ceil": _rounded("ceil", ceil),
}
REDUCTIONS: dict[str, Callable[..., Element]] = {
    "ReduceProd": _multiply,
    "ReduceSum": _add,
    "ReduceMax": ARITHMETIC["Max"],
    "ReduceMin": ARITHMETIC["Min"],
}


def compute(function: Callable[..., Element], arrays: list[Elements]) -> Value:
    """Return the elements that a function makes of matching elements."""
    together = np.broadcast_arrays(*arrays)
    result = np.empty(together[0].shape, dtype=object)
    flat = [array.reshape(-1) for array in together]
    result.reshape(-1)[:] = [function(*elements) for elements in zip(*flat, strict=True)]
    return from_array(result)
