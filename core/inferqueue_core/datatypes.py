"""The tensor datatypes of the Open Inference Protocol, beside NumPy's and ONNX' names for them."""

from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt


class Datatype(StrEnum):
    """A datatype of the Open Inference Protocol v2; BYTES elements are strings in UTF-8."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def dtype(self) -> "np.dtype[np.generic]":
        """The little-endian NumPy dtype; object for BYTES, whose elements are str."""
        return _DTYPES[self]

    @property
    def is_float(self) -> bool:
        return self in (Datatype.FP16, Datatype.FP32, Datatype.FP64)

    @property
    def is_integer(self) -> bool:
        return self.value.startswith(("INT", "UINT"))


_DTYPES: dict[Datatype, "np.dtype[np.generic]"] = {
    Datatype.BOOL: np.dtype("?"),
    Datatype.UINT8: np.dtype("u1"),
    Datatype.UINT16: np.dtype("<u2"),
    Datatype.UINT32: np.dtype("<u4"),
    Datatype.UINT64: np.dtype("<u8"),
    Datatype.INT8: np.dtype("i1"),
    Datatype.INT16: np.dtype("<i2"),
    Datatype.INT32: np.dtype("<i4"),
    Datatype.INT64: np.dtype("<i8"),
    Datatype.FP16: np.dtype("<f2"),
    Datatype.FP32: np.dtype("<f4"),
    Datatype.FP64: np.dtype("<f8"),
    Datatype.BYTES: np.dtype("O"),
}

_ONNX_NAMES = {
    "bool": Datatype.BOOL,
    "uint8": Datatype.UINT8,
    "uint16": Datatype.UINT16,
    "uint32": Datatype.UINT32,
    "uint64": Datatype.UINT64,
    "int8": Datatype.INT8,
    "int16": Datatype.INT16,
    "int32": Datatype.INT32,
    "int64": Datatype.INT64,
    "float16": Datatype.FP16,
    "float": Datatype.FP32,
    "double": Datatype.FP64,
    "string": Datatype.BYTES,
}

Array = npt.NDArray[Any]


def from_onnx(type_name: str) -> Datatype | None:
    """Give the datatype of an ONNX type such as `tensor(float)`; None for what the protocol has no name for."""
    if not type_name.startswith("tensor(") or not type_name.endswith(")"):
        return None
    return _ONNX_NAMES.get(type_name[len("tensor(") : -1])


def from_dtype(dtype: "np.dtype[np.generic]") -> Datatype | None:
    """Give the datatype of a NumPy dtype (object and str stand for BYTES); None for any other."""
    if dtype.kind in "OU":
        return Datatype.BYTES
    little = dtype.newbyteorder("<")
    return next((datatype for datatype, known in _DTYPES.items() if known == little), None)
