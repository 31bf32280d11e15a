"""Predictors that are a function of an array, in whose rows each is alone, or mixed with the others."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.models import TensorSpec
from inferqueue_worker.graph import RowReading
from inferqueue_worker.predictor import ModelSignature, Output, RunControl
from inferqueue_worker.repository import ModelFiles

Function = Callable[[Any], Any]


class RowFunction:
    """Gives `y = function(x)`; counts its runs, and remembers how many rows each had."""

    def __init__(
        self,
        function: Function,
        datatype: Datatype = Datatype.FP32,
        shape: Sequence[int] = (-1, 4),
        output: Datatype = Datatype.FP32,
        reading: RowReading | None = None,
        *,
        in_maps: bool = False,
    ) -> None:
        self._function = function
        self._reading = reading
        self._json_outputs = ("y",) if in_maps else ()
        self._input = TensorSpec(name="x", datatype=datatype, shape=tuple(shape))
        self._output = TensorSpec(name="y", datatype=output, shape=(-1,))
        self.rows: list[int] = []

    def load(self) -> None: ...

    def metadata(self) -> ModelSignature:
        return ModelSignature((self._input,), (self._output,), self._json_outputs, reading=self._reading)

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        self.rows.append(len(inputs["x"]))
        with np.errstate(all="ignore"):
            return {"y": self._function(inputs["x"])}


def running_total() -> Function:
    """Make a function that adds all that it has ever seen."""
    seen = np.float32(0)

    def add(x: Array) -> Array:
        nonlocal seen
        seen = seen + x.sum()
        return np.asarray(x + seen)

    return add


def random_noise() -> Function:
    random = np.random.default_rng(5)
    return lambda x: (x + random.normal(size=x.shape)).astype(np.float32)


def padded_words(x: Array) -> Array:
    """Split texts at blanks, padded to the longest of all."""
    words = [text.split() for text in x[:, 0]]
    longest = max(map(len, words))
    return np.array([row + [""] * (longest - len(row)) for row in words], dtype=object).reshape(len(x), longest)


def largest_few(x: Array) -> Array:
    """Mark the two rows with the largest sums."""
    mark = np.zeros(len(x), np.int64)
    mark[np.argsort(-x.sum(axis=1), kind="stable")[:2]] = 1
    return mark


def tags(x: Array) -> Array:
    """Give the columns above 0.8 as one flat list."""
    return np.asarray(np.nonzero(x > 0.8)[1])


def seen_before(x: Array) -> Array:
    """Tell of each row whether an equal one stands before it."""
    return np.array([any(np.array_equal(row, other) for other in x[:i]) for i, row in enumerate(x)])


def mixed_beyond(limit: float) -> Function:
    """Make a function that mixes rows only when some value is beyond a limit, as no made-up one is."""
    return lambda x: np.asarray(x - x.mean() if (np.isfinite(x) & (x > limit)).any() else x, np.float32)


WEIGHTS = np.random.default_rng(3).normal(size=(4, 300)).astype(np.float32)
DEEP = np.random.default_rng(4).normal(size=(300, 7)).astype(np.float32)


def network(x: Array) -> Array:
    """Two matrix products, whose rounding depends on how many rows there are."""
    return np.asarray(np.tanh(x.astype(np.float32) @ WEIGHTS) @ DEEP)


def spoiled_by_count(limit: int) -> Function:
    return lambda x: np.asarray(x * np.float32(1.01) if len(x) > limit else x)


MIXING: dict[str, Function] = {
    "scaled by the largest": lambda x: x / np.abs(x).max(),
    "mean taken off": lambda x: x - x.mean(axis=0),
    "standardised": lambda x: (x - x.mean()) / (x.std() + 1),
    "a little of the mean": lambda x: x + np.float32(2e-5) * x.mean(),
    "softmax down the rows": lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(axis=0),
    "sorted down the rows": lambda x: np.sort(x, axis=0),
    "backwards": lambda x: x[::-1].copy(),
    "shifted by a row": lambda x: x + np.roll(x, 1, axis=0),
    "shifted by four rows": lambda x: x + np.vstack([np.zeros_like(x[:4]), x[:-4]]) if len(x) > 4 else x,
    "added up": lambda x: np.cumsum(x, axis=0),
    "first row taken off": lambda x: x - x[0] + x.sum(axis=1, keepdims=True) * 0,
    "row number": lambda x: x + np.arange(len(x), dtype=np.float32)[:, None],
    "divided by the rows": lambda x: x / len(x),
    "number of rows": lambda x: np.full(len(x), len(x)),
    "more beyond six rows": spoiled_by_count(6),
    "rank among rows": lambda x: np.argsort(np.argsort(x.sum(axis=1))),
    "largest few": largest_few,
    "equal rows marked": seen_before,
    "one row for all": lambda x: x.max(axis=0, keepdims=True),
    "axis 0 gone": lambda x: x.max(),
    "flat list of finds": tags,
    "transposed": lambda x: x.T.copy(),
    "not a number everywhere": lambda x: x + 0 * x.sum(),
    "running total": running_total(),
    "noise": random_noise(),
    "largest in maps": lambda x: [{"a": float(row[0]), "b": float(x.max())} for row in x],
}

APART: dict[str, Function] = {
    "same": lambda x: x,
    "scaled by the largest of its row": lambda x: x / (np.abs(x).max(axis=1, keepdims=True) + 1),
    "softmax along the row": lambda x: np.exp(x - x.max(axis=1, keepdims=True)),
    "sorted along the row": lambda x: np.sort(x, axis=1),
    "network": network,
    "network in half precision": lambda x: network(x).astype(np.float16),
    "label of a network": lambda x: network(x).argmax(axis=1),
    "steps of a network": lambda x: np.round(network(x) * 50).astype(np.int8),
    "label of equals": lambda x: (x - x).argmax(axis=1),
    "maps": lambda x: [dict(zip("abcd", map(float, row), strict=True)) for row in x],
    "texts": lambda x: np.array([f"{row.sum():.1f}" for row in x], dtype=object),
    "not a number": lambda x: x * np.float32(np.nan),
    "always the same": lambda x: np.zeros((len(x), 3), np.float32),
}


class Stuck:
    """Runs for ever: until it is stopped, or deaf to all, and then perhaps busy."""

    def __init__(self, *, deaf: bool, busy: bool = False) -> None:
        self._deaf = deaf
        self._busy = busy
        self.end = threading.Event()

    def load(self) -> None: ...

    def metadata(self) -> ModelSignature:
        spec = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1,))
        return ModelSignature((spec,), (spec,))

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        if not self._deaf:
            control.on_stop(self.end.set)
        while self._busy and not self.end.is_set():
            pass
        self.end.wait()
        raise RuntimeError("stopped")


# As PREDICTOR=support.row_functions:… brings them.


def rarely_mixed(files: ModelFiles) -> RowFunction:
    """Take off the mean of all rows where one holds more than 5000."""
    return RowFunction(mixed_beyond(5000))


def heedful(files: ModelFiles) -> Stuck:
    return _announced(Stuck(deaf=False))


def deaf(files: ModelFiles) -> Stuck:
    return _announced(Stuck(deaf=True))


def busy(files: ModelFiles) -> Stuck:
    return _announced(Stuck(deaf=True, busy=True))


def hanging(files: ModelFiles) -> Stuck:
    """Never load."""
    _announced(Stuck(deaf=True)).end.wait()
    raise AssertionError("it never comes here")


def leaving_a_thread(files: ModelFiles) -> RowFunction:
    """Leave a thread behind that keeps the process."""
    threading.Thread(target=threading.Event().wait, name="left-behind").start()
    return RowFunction(lambda x: x)


def _announced(stuck: Stuck) -> Stuck:
    print("now it hangs", flush=True)
    return stuck
