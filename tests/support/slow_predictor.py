"""A predictor that runs the ONNX model, but takes a row as an order to be slow: longer than any test's lease."""

import os
import time
from collections.abc import Mapping, Sequence

from inferqueue_core.datatypes import Array
from inferqueue_worker.onnx_predictor import OnnxPredictor
from inferqueue_worker.predictor import ModelSignature, Output, Predictor, RunControl
from inferqueue_worker.repository import ModelFiles

SLOW = 99.0
_SECONDS = 1.5 * float(os.environ.get("LEASE_SECONDS", "1"))


class SlowPredictor:
    """Takes one and a half leases for rows that hold the number 99."""

    def __init__(self, inner: Predictor) -> None:
        self._inner = inner

    def load(self) -> None:
        self._inner.load()

    def metadata(self) -> ModelSignature:
        return self._inner.metadata()

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        if any((array == SLOW).any() for array in inputs.values()):
            time.sleep(_SECONDS)
        return self._inner.predict(inputs, outputs, control)


def make(files: ModelFiles) -> Predictor:
    return SlowPredictor(OnnxPredictor(files, 1))
