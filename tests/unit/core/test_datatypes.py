"""Datatypes of the Open Inference Protocol beside those of NumPy and ONNX."""

import numpy as np
import pytest

from inferqueue_core.datatypes import Datatype, from_dtype, from_onnx


@pytest.mark.parametrize("datatype", list(Datatype))
def test_a_datatype_is_found_by_its_dtype_in_either_byte_order(datatype: Datatype) -> None:
    assert from_dtype(datatype.dtype) is datatype
    assert from_dtype(datatype.dtype.newbyteorder(">")) is datatype


@pytest.mark.parametrize(
    ("name", "datatype"),
    [
        ("tensor(float)", Datatype.FP32),
        ("tensor(double)", Datatype.FP64),
        ("tensor(float16)", Datatype.FP16),
        ("tensor(string)", Datatype.BYTES),
        ("tensor(bool)", Datatype.BOOL),
        ("tensor(uint64)", Datatype.UINT64),
        ("tensor(bfloat16)", None),
        ("tensor(complex64)", None),
        ("seq(tensor(float))", None),
        ("optional(tensor(float))", None),
        ("float", None),
        ("", None),
    ],
)
def test_onnx_types(name: str, datatype: Datatype | None) -> None:
    assert from_onnx(name) is datatype


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "S3", "V4"])
def test_other_dtypes_have_no_datatype(dtype: str) -> None:
    assert from_dtype(np.dtype(dtype)) is None


def test_strings_are_bytes() -> None:
    assert from_dtype(np.array(["a"]).dtype) is Datatype.BYTES


def test_kinds() -> None:
    assert [datatype for datatype in Datatype if datatype.is_float] == [Datatype.FP16, Datatype.FP32, Datatype.FP64]
    assert sum(datatype.is_integer for datatype in Datatype) == 8
