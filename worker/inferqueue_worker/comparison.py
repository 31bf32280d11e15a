"""Whether outputs are the same: their types, their shapes, and their values but for the rounding of floats."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from inferqueue_core.datatypes import Array
from inferqueue_worker.predictor import Output

_FLOAT32 = float(np.finfo(np.float32).eps)
# A float16 keeps three digits: its last bit alone is more than the others' whole tolerance.
_LAST_BITS = 4.0


class Tolerance(Struct, frozen=True):
    """How far floats may lie apart: `relative` of themselves, and `absolute` of the largest one of their row.

    The largest one counts as at least `least`. It is the measure because a sum that nearly cancels out keeps the
    rounding of its large terms.
    """

    relative: float
    absolute: float
    least: float = 0.0


# Other numbers of rows take other ways through a matrix product: 1e-7 of a row's largest value is usual, 1e-5 rare.
LOOSE = Tolerance(1e-4, 1e-5)
ROUNDING = Tolerance(1e-4, 1e-5, least=1.0)
# What runs through the same instructions at the same place of an array of the same shape gives the same bits.
TIGHT = Tolerance(16 * _FLOAT32, 16 * _FLOAT32)


def differing_output(one: Mapping[str, Output], other: Mapping[str, Output], tolerance: Tolerance) -> str | None:
    """Return the name of the first output of `other` that is not the same in `one`; None when all are."""
    return next((name for name, value in other.items() if not same(one[name], value, tolerance)), None)


def same(one: Output, other: Output, tolerance: Tolerance) -> bool:
    """Tell whether two values of an output have one type, one shape, and values within the tolerance."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return (
            one.dtype == other.dtype and one.shape == other.shape and bool(np.all(_close_mask(one, other, tolerance)))
        )
    return _same_elements(one, other, tolerance)


def either(value: Output, one: Output, other: Output, tolerance: Tolerance) -> bool:
    """Tell whether each element of `value` is the same as in `one` or as in `other`."""
    if not (isinstance(value, np.ndarray) and isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return same(value, one, tolerance) or same(value, other, tolerance)
    if not value.shape == one.shape == other.shape:
        return False
    return bool(np.all(_close_mask(value, one, tolerance) | _close_mask(value, other, tolerance)))


def _close_mask(one: Array, other: Array, tolerance: Tolerance) -> npt.NDArray[np.bool_]:
    if one.dtype.kind != "f":
        return np.asarray(one == other)
    equal = np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))
    if equal.all():
        return equal
    eps = _LAST_BITS * float(np.finfo(one.dtype).eps)
    # In float64, where differences of large numbers do not overflow.
    a, b = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    sizes = np.where(finite, np.abs(b), 0.0)
    scale = sizes.max(axis=tuple(range(1, b.ndim)), keepdims=True) if b.ndim > 1 and b.size else sizes
    allowed = max(tolerance.relative, eps) * sizes + max(tolerance.absolute, eps) * np.maximum(scale, tolerance.least)
    distance = np.abs(np.where(finite, a, 0.0) - np.where(finite, b, 0.0))
    return np.asarray(equal | (finite & (distance <= allowed)))


def _same_elements(one: Any, other: Any, tolerance: Tolerance) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return False
        values, others = list(one.values()), [other[key] for key in one]
        if _are_floats(values) and _are_floats(others):
            # The values of one map are those of one row.
            return same(np.asarray([values], np.float32), np.asarray([others], np.float32), tolerance)
        return all(_same_elements(a, b, tolerance) for a, b in zip(values, others, strict=True))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_same_elements(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, (np.ndarray, np.generic, float)) and isinstance(other, (np.ndarray, np.generic, float)):
        return same(np.asarray(one), np.asarray(other), tolerance)
    return bool(np.array_equal(one, other))


def _are_floats(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, (float, np.floating)) for value in values)
