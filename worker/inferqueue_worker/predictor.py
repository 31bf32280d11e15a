"""What the worker asks of a model, whatever runs it."""

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from inferqueue_core.datatypes import Array
from inferqueue_core.models import TensorSpec
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.graph import RowReading
from inferqueue_worker.repository import ModelFiles

# What a classifier may say: a number or a text.
Label = int | str

# An output: an array, or for a sequence or a map the list or dict that ONNX Runtime gives.
Output = Array | list[Any] | dict[Any, Any]


class ModelSignature(Struct, frozen=True):
    """A model's inputs and outputs; `json_outputs` names those that are sequences or maps.

    `batchable` is None where rows of several jobs may be run together if a trial at load proves it; False, with
    `why_not`, where they may not. `doubt` is a reason against that only a reading of the graph can dispel.
    `reading` is what the graph tells; None where there is no graph. `constant_outputs` depend on no input: they have no
    rows, and each job gets the whole of them. `labels` are those of a classifier in the order of its probabilities: ()
    where they are 0, 1, 2, …, None where nobody knows them.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    json_outputs: tuple[str, ...] = ()
    batchable: bool | None = None
    why_not: str = ""
    platform: str = "custom"
    doubt: str = ""
    reading: RowReading | None = None
    constant_outputs: tuple[str, ...] = ()
    labels: tuple[Label, ...] | None = None


class RunControl:
    """The handle by which one run can be stopped from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self.reason: str | None = None

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop` when the run is to end; at once when that has been said before."""
        with self._lock:
            self._stop = stop
            said = self.reason is not None
        if said:
            stop()

    def stop(self, reason: str) -> None:
        """End the run for `reason`: `timeout`, `canceled` or `shutdown`; the first one counts."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            stop = self._stop
        if stop is not None:
            stop()


class Predictor(Protocol):
    """A model in some engine. One object serves several threads; `load` is called once, before anything else."""

    def load(self) -> None:
        """Make the model ready; raise ModelLoadError when that cannot be."""

    def metadata(self) -> ModelSignature:
        """Return the model's inputs and outputs."""

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        """Run the model once and give the named outputs; raise a PredictionError when it fails."""


PredictorFactory = Callable[[ModelFiles], Predictor]


def import_factory(reference: str) -> PredictorFactory:
    """Import `module:factory`, a callable that makes a Predictor from ModelFiles; raise ModelLoadError otherwise."""
    module_name, _, name = reference.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # whatever the module does while it is imported
        reason = f"{type(error).__name__}: {error}"
        raise ModelLoadError(f"PREDICTOR={reference!r} is not an importable `module:factory`: {reason}") from error
    if not callable(factory):
        raise ModelLoadError(f"PREDICTOR={reference!r} is not callable")
    return factory  # type: ignore[no-any-return]  # checked by use: a factory's signature cannot be seen at run time
