"""The Iris model made slow, so that a worker that is killed is always killed in the middle of a run."""

import time
from collections.abc import Mapping, Sequence

from inferqueue_core.datatypes import Array
from inferqueue_worker.onnx_predictor import OnnxPredictor
from inferqueue_worker.predictor import Output, RunControl
from inferqueue_worker.repository import ModelFiles

_SECONDS_PER_RUN = 0.006
_SECONDS_PER_ROW = 0.003


class SlowPredictor(OnnxPredictor):
    """ONNX Runtime with a rest before each run."""

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        rows = len(next(iter(inputs.values())))
        time.sleep(_SECONDS_PER_RUN + rows * _SECONDS_PER_ROW)
        return super().predict(inputs, outputs, control)


def make(files: ModelFiles) -> SlowPredictor:
    """Make the predictor, as PREDICTOR=slow_iris:make asks for it."""
    return SlowPredictor(files, 1)
