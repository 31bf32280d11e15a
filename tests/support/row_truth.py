"""What ONNX Runtime itself says of rows: each alone, beside others, in another order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, numpy_helper

Rows = dict[str, Any]
_WORDS = ["a", "b c", "", "Film", "d e f g", "monday"]


def session(model: ModelProto) -> Any:
    """Make a session, without optimizations that would hide an operator's own behaviour."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def with_free_rows(model: ModelProto, data: Mapping[str, Any], free: Sequence[str]) -> ModelProto | None:
    """Give a model with axis 0 of the inputs `free` named `rows` and all other inputs as constants of these values."""
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for value in list(graph.input):
        if value.name in free:
            if not value.type.HasField("tensor_type") or not value.type.tensor_type.shape.dim:
                return None
            value.type.tensor_type.shape.dim[0].dim_param = "rows"
        else:
            array = data.get(value.name)
            if not isinstance(array, np.ndarray):
                return None
            if value.type.tensor_type.elem_type == TensorProto.STRING:
                texts = np.array([_text(text) for text in array.reshape(-1)], dtype=object)
                graph.initializer.append(numpy_helper.from_array(texts.reshape(array.shape), value.name))
            else:
                graph.initializer.append(numpy_helper.from_array(array, value.name))
            graph.input.remove(value)
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    return copy


def drawn(random: np.random.Generator, like: Any, rows: int) -> Any:
    """Draw rows shaped as those of an array: its own values in another order, at times at another scale."""
    like = np.asarray(like)
    shape = (rows, *like.shape[1:])
    if like.size == 0 or not np.prod(shape):
        return np.zeros(shape, like.dtype)
    if like.dtype.kind in "OSU":
        return random.choice(np.array([*map(_text, like.reshape(-1)), *_WORDS], dtype=object), shape)
    values = random.choice(like.reshape(-1), shape)
    if like.dtype.kind == "f":
        values = values * random.choice([0.01, 1, 1, 30]) + random.normal(size=shape) * random.choice([0, 0.1, 3])
    return np.asarray(values).astype(like.dtype)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def run(sessions: Any, rows: Rows) -> list[Any] | None:
    """Run rows; None where ONNX Runtime refuses them."""
    try:
        return list(sessions.run(None, rows))
    except Exception:
        return None


def joined(*parts: Rows) -> Rows:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def alike(one: Any, other: Any) -> bool:
    """Whether two results are the same, but for rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    first, second = np.asarray(one), np.asarray(other)
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.dtype.kind in "fc":
        with np.errstate(all="ignore"):
            return bool(np.allclose(first, second, rtol=2e-3, atol=2e-3, equal_nan=True))
    return bool(np.array_equal(first, second))


def how_rows_depend(
    sessions: Any, draws: Iterator[Rows], constants: Sequence[str], outputs: Sequence[str], times: int
) -> str | None:
    """Say how rows that run together differ from rows alone; '' where they do not, None where no row runs alone.

    `draws` gives rows by input name, one at a time. The outputs `constants` are to be the same whatever runs.
    """
    ran = 0
    for _ in range(times):
        parts = [next(draws) for _ in range(3)]
        alone = [run(sessions, part) for part in parts]
        if any(results is None for results in alone):
            continue
        ran += 1
        for order in ((0, 1, 2), (2, 0), (1, 1, 0)):
            together = run(sessions, joined(*(parts[number] for number in order)))
            if together is None:
                return "rows that run alone do not run together"
            for at, name in enumerate(outputs):
                expected = [results[at] for number in order if (results := alone[number]) is not None]
                if name in constants:
                    if not all(alike(together[at], one) for one in expected):
                        return f"output {name!r} is no constant"
                    continue
                if isinstance(together[at], dict) or np.ndim(together[at]) == 0 or len(together[at]) != len(order):
                    return f"output {name!r} has not one entry for each row"
                for place, one in enumerate(expected):
                    if np.ndim(one) == 0 or len(one) != 1 or not alike(together[at][place], one[0]):
                        return f"output {name!r} of a row depends on the rows beside it"
    return "" if ran else None
