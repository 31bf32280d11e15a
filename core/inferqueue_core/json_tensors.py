"""Tensors as JSON: reading them strictly against a model's signature, and writing them without loss.

Numbers are JSON numbers. Where JSON has none, floats are the strings "NaN", "Infinity" and "-Infinity", as in the JSON
form of Protocol Buffers; BYTES elements are strings.
"""

import gc
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import orjson

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.errors import InvalidInputError
from inferqueue_core.models import TensorSpec
from inferqueue_core.tensors import Tensor, reshaped

_INTEGER_CHARACTERS = b"0123456789-[],"
_FLOAT_CHARACTERS = b".eE+"
_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
MAX_DIMENSIONS = 32
_LONG_TEXT = 64 * 1024

Json = Any


def load_json(text: bytes) -> Json:
    """Parse a JSON text; raise orjson.JSONDecodeError when it is not JSON.

    The garbage collector rests meanwhile. It would pass over all lists again and again as they become more, which takes
    twice as long as the parsing, and no other thread runs in that time.
    """
    if len(text) < _LONG_TEXT or not gc.isenabled():
        return orjson.loads(text)
    gc.disable()
    try:
        return orjson.loads(text)
    finally:
        gc.enable()


def read_inputs(data: Json, specs: Sequence[TensorSpec], *, finite: bool = False) -> list[Tensor]:
    """Read the `data` of a job as the model's inputs: the value itself for one input, an object by name for several.

    Gives the tensors in the order of `specs`. Raises InvalidInputError naming the field.
    """
    if isinstance(data, dict):
        unknown = [name for name in data if name not in {spec.name for spec in specs}]
        missing = [spec.name for spec in specs if spec.name not in data]
        known = ", ".join(repr(spec.name) for spec in specs)
        if unknown:
            raise InvalidInputError(
                f"data.{unknown[0]}", f"the model has no input {unknown[0]!r}; its inputs are {known}"
            )
        if missing:
            raise InvalidInputError(f"data.{missing[0]}", f"input {missing[0]!r} is missing; the inputs are {known}")
        return [read_tensor(f"data.{spec.name}", data[spec.name], spec, finite=finite) for spec in specs]
    if len(specs) != 1:
        names = ", ".join(f'"{spec.name}": …' for spec in specs)
        raise InvalidInputError("data", f"the model has {len(specs)} inputs; send an object: {{{names}}}")
    return [read_tensor("data", data, specs[0], finite=finite)]


def read_tensor(field: str, value: Json, spec: TensorSpec, *, finite: bool = False) -> Tensor:
    """Read nested JSON arrays (or a bare value, for a scalar) as one input; or raise InvalidInputError.

    Lists end at an axis of length 0; the axes behind it are those of the input.
    """
    array = _to_array(field, value, spec.datatype)
    if array.size == 0 and array.ndim < len(spec.shape):
        array = reshaped(field, spec.name, array, _completed(field, array.shape, spec))
    check_shape(field, array.shape, spec)
    tensor = Tensor(spec.name, spec.datatype, array)
    if finite:
        check_finite(field, tensor)
    return tensor


def read_flat_tensor(field: str, value: Json, spec: TensorSpec, shape: tuple[int, ...]) -> Tensor:
    """Read an Open Inference Protocol `data`, flat or nested in row-major order, into `shape`."""
    array = _to_array(field, value, spec.datatype)
    # Lists end at an axis of length 0: the axes after it cannot be seen.
    nested = shape[: array.ndim] if array.size == 0 else shape
    if array.ndim > 1 and array.shape != nested:
        raise InvalidInputError(
            field, f"input {spec.name!r}: data is nested as {list(array.shape)}, shape says {list(shape)}"
        )
    if array.size != prod(shape):
        raise InvalidInputError(
            field, f"input {spec.name!r}: {array.size} elements in data, shape {list(shape)} takes {prod(shape)}"
        )
    return Tensor(spec.name, spec.datatype, reshaped(field, spec.name, array, shape))


def check_shape(field: str, shape: tuple[int, ...], spec: TensorSpec) -> None:
    """Raise InvalidInputError unless `shape` is one that the input takes."""
    wanted = spec.shape
    if spec.any_shape:
        if len(shape) > MAX_DIMENSIONS:
            raise InvalidInputError(
                field, f"input {spec.name!r}: data has {len(shape)} dimensions, at most {MAX_DIMENSIONS} are taken"
            )
        return
    if _fits(shape, wanted):
        return
    hint = ""
    if len(shape) + 1 == len(wanted):
        hint = "; one row is still a list of rows: put it into [ ]"
    raise InvalidInputError(
        field, f"input {spec.name!r} takes shape {list(wanted)} (-1 is any length), data has shape {list(shape)}{hint}"
    )


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (-1, have) for have, want in zip(shape, wanted, strict=True))


def _completed(field: str, shape: tuple[int, ...], spec: TensorSpec) -> tuple[int, ...]:
    """Give the whole shape of lists that end at an axis of length 0; raise InvalidInputError where it is not known."""
    before, behind = spec.shape[: len(shape)], spec.shape[len(shape) :]
    if -1 not in behind:
        return shape + behind
    if not _fits(shape, before):
        return shape
    raise InvalidInputError(
        field,
        f"input {spec.name!r} takes shape {list(spec.shape)} (-1 is any length), data has shape {list(shape)}: "
        "what lies behind an empty axis cannot be seen in nested lists; send it with its shape to /v2",
    )


def check_finite(field: str, tensor: Tensor) -> None:
    """Raise InvalidInputError when a float tensor holds NaN or infinity."""
    if tensor.datatype.is_float and not np.isfinite(tensor.array).all():
        raise InvalidInputError(field, f"input {tensor.name!r} must be finite, data holds NaN or infinity")


def json_values(array: Array) -> Json:
    """Give an array as nested lists that JSON can hold; floats keep the digits that tell them apart."""
    if array.dtype.kind != "f":
        return array.tolist()
    if array.dtype != np.float64:
        array = _shortest(array)
    if np.isfinite(array).all():
        return array.tolist()
    return _name_special(array.tolist())


def _shortest(array: Array) -> Array:
    """Give the float64 numbers whose digits are the fewest that still tell the float16 or float32 numbers apart."""
    wide = array.astype(np.float64)
    finite = np.isfinite(wide)
    single = np.ascontiguousarray(array[finite], dtype=np.float32)
    wide[finite] = orjson.loads(orjson.dumps(single, option=orjson.OPT_SERIALIZE_NUMPY))
    return wide


def _name_special(value: Json) -> Json:
    if isinstance(value, list):
        return [_name_special(element) for element in value]
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _to_array(field: str, value: Json, datatype: Datatype) -> Array:
    # What is left of the JSON text without lists and integers tells the kinds inside; far faster than walking lists.
    try:
        rest = orjson.dumps(value).translate(None, _INTEGER_CHARACTERS)
    except orjson.JSONEncodeError:
        raise _shape_error(field, datatype) from None
    if datatype is Datatype.BYTES:
        return _strings(field, value)
    if datatype is Datatype.BOOL:
        return _booleans(field, value)
    if datatype.is_integer:
        if rest:
            _refuse_first(field, value, datatype, (int,))
        return _integers(field, value, datatype)
    if rest.translate(None, _FLOAT_CHARACTERS):
        value = _read_special(field, value)
    return _floats(field, value, datatype)


def _floats(field: str, value: Json, datatype: Datatype) -> Array:
    try:
        array = np.array(value, dtype=np.float64)
    except (ValueError, OverflowError):
        raise _shape_error(field, datatype) from None
    if datatype is Datatype.FP64:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(datatype.dtype)
    if not np.isfinite(narrow).all() and (np.isinf(narrow) & ~np.isinf(array)).any():
        limit = np.finfo(narrow.dtype).max
        raise InvalidInputError(field, f"a number is too large for {datatype}, whose largest is {limit:g}")
    return narrow


def _integers(field: str, value: Json, datatype: Datatype) -> Array:
    try:
        return np.array(value, dtype=datatype.dtype)
    except OverflowError:
        limits = np.iinfo(datatype.dtype.name)
        worst = next(leaf for leaf in _leaves(value) if not limits.min <= leaf <= limits.max)
        raise InvalidInputError(
            field, f"{worst} is outside {datatype}, which holds {limits.min} to {limits.max}"
        ) from None
    except ValueError:
        raise _shape_error(field, datatype) from None


def _strings(field: str, value: Json) -> Array:
    _refuse_first(field, value, Datatype.BYTES, (str,))
    shape = _shape_of(value)
    if shape is None or len(shape) > MAX_DIMENSIONS:
        raise _shape_error(field, Datatype.BYTES)
    flat = _leaves(value)
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape)


def _booleans(field: str, value: Json) -> Array:
    _refuse_first(field, value, Datatype.BOOL, (bool,))
    try:
        return np.array(value, dtype=np.bool_)
    except ValueError:
        raise _shape_error(field, Datatype.BOOL) from None


def _read_special(field: str, value: Json) -> Json:
    if isinstance(value, list):
        return [_read_special(f"{field}[{index}]", element) for index, element in enumerate(value)]
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInputError(
            field, f'{_shown(value)} is not a number; for values that JSON lacks send "NaN", "Infinity" or "-Infinity"'
        )
    return value


def _refuse_first(field: str, value: Json, datatype: Datatype, kinds: tuple[type, ...]) -> None:
    """Raise InvalidInputError at the first leaf that is not of `kinds`, naming its place."""
    if isinstance(value, list):
        for index, element in enumerate(value):
            _refuse_first(f"{field}[{index}]", element, datatype, kinds)
    elif not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InvalidInputError(field, f"{_shown(value)} is not {_ARTICLES[kinds[0]]}, which {datatype} needs")


_ARTICLES: dict[type, str] = {int: "an integer", bool: "true or false", str: "a string"}


def _shown(value: Json) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 40 else f"{text[:40]}…"


def _leaves(value: Json) -> list[Json]:
    if not isinstance(value, list):
        return [value]
    return [leaf for element in value for leaf in _leaves(element)]


def _shape_of(value: Json) -> tuple[int, ...] | None:
    """Give the shape of nested lists, None when they are ragged."""
    if not isinstance(value, list):
        return ()
    shapes = {_shape_of(element) for element in value}
    if not shapes:
        return (0,)
    inner = shapes.pop()
    return None if shapes or inner is None else (len(value), *inner)


def _shape_error(field: str, datatype: Datatype) -> InvalidInputError:
    return InvalidInputError(
        field,
        f"the rows differ in length or depth; {datatype} data must be rectangular, at most {MAX_DIMENSIONS} dimensions",
    )
