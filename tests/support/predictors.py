"""Predictors of somebody's own, as PREDICTOR=support.predictors:… brings them."""

import os
import threading
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.models import TensorSpec
from inferqueue_worker.errors import BadInputError
from inferqueue_worker.predictor import ModelSignature, Output, RunControl
from inferqueue_worker.repository import ModelFiles

_SPEC = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1,))


class Negative:
    """Gives `-x`, refuses 13, dies of 666, and runs for ever, deaf to all, at 999, and busy at 998."""

    def __init__(self, files: ModelFiles) -> None:
        self.files = files

    def load(self) -> None:
        pass

    def metadata(self) -> ModelSignature:
        return ModelSignature((_SPEC,), (replace(_SPEC, name="negative"),))

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        x = inputs["x"]
        if 13 in x:
            raise BadInputError("13 brings bad luck")
        if 666 in x:
            os._exit(66)
        if 999 in x:
            threading.Event().wait()
        while 998 in x:
            pass
        return {"negative": np.negative(x)}


def failing(files: ModelFiles) -> Negative:
    raise RuntimeError(f"no licence for {files.name}")
