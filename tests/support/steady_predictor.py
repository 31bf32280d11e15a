"""A predictor whose every job takes a quarter of a second, one at a time: load for scaling tests."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.models import TensorSpec
from inferqueue_worker.predictor import ModelSignature, Output, RunControl
from inferqueue_worker.repository import ModelFiles

SECONDS = 0.25


class SteadyPredictor:
    """Doubles one number."""

    def load(self) -> None:
        """Nothing has to be loaded."""

    def metadata(self) -> ModelSignature:
        number = TensorSpec(name="x", datatype=Datatype.FP32, shape=(1,))
        return ModelSignature((number,), (number,), batchable=False, why_not="one at a time")

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        time.sleep(SECONDS)
        return {"x": np.asarray(inputs["x"] * 2)}


def make(files: ModelFiles) -> SteadyPredictor:
    return SteadyPredictor()
