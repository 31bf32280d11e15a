"""A predictor whose jobs say how long they take: it sleeps so many seconds, and tells which worker did.

It is mounted into pods that hold nothing else of the tests, so it imports only what the worker brings.
"""

import socket
import time
from collections.abc import Mapping, Sequence

import numpy as np

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.models import TensorSpec
from inferqueue_worker.predictor import ModelSignature, Output, RunControl
from inferqueue_worker.repository import ModelFiles


class TimedPredictor:
    """Sleeps; one job at a time."""

    def load(self) -> None:
        """Nothing has to be loaded."""

    def metadata(self) -> ModelSignature:
        seconds = TensorSpec(name="seconds", datatype=Datatype.FP32, shape=(1,))
        worker = TensorSpec(name="worker", datatype=Datatype.BYTES, shape=(1,))
        return ModelSignature((seconds,), (worker,), batchable=False, why_not="one at a time")

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        time.sleep(float(inputs["seconds"][0]))
        return {"worker": np.array([socket.gethostname()], dtype=object)}


def make(files: ModelFiles) -> TimedPredictor:
    return TimedPredictor()
