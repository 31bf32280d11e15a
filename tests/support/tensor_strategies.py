"""Tensors of every datatype, for hypothesis."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from inferqueue_core.datatypes import Array, Datatype

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def arrays(datatype: Datatype, *, min_dims: int = 0) -> st.SearchStrategy[Array]:
    """Arrays of a datatype with up to 4 dimensions, empty ones and NaN among them."""
    shapes = st_numpy.array_shapes(min_dims=min_dims, max_dims=4, min_side=0, max_side=4)
    if datatype is Datatype.BYTES:
        return st_numpy.arrays(np.dtype("O"), shapes, elements=_TEXT, fill=_TEXT)
    return st_numpy.arrays(datatype.dtype, shapes)


def same(one: Array, other: Array) -> bool:
    """Tell whether two arrays hold the same values in the same shape, NaN and the sign of zero included."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    return bool(
        np.array_equal(one, other, equal_nan=True)
        and np.array_equal(np.signbit(one[one == 0]), np.signbit(other[other == 0]))
    )
