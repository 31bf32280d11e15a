"""The Iris model as everybody but inferqueue runs it: one job, one call; the answers have inferqueue's form."""

import os
from typing import Any

import numpy as np
import onnxruntime

CLASSES = ("setosa", "versicolor", "virginica")


class Iris:
    """The model; `path` is its ONNX file, by default the one that MODEL_PATH names."""

    def __init__(self, path: str | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # its default keeps a second thread spinning, for a run of microseconds
        self._session = onnxruntime.InferenceSession(
            path or os.environ["MODEL_PATH"], options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def predict(self, rows: list[list[float]]) -> list[dict[str, Any]]:
        """Classify rows of four numbers."""
        labels, probabilities = self._session.run(None, {self._input: np.array(rows, dtype=np.float32)})
        return [
            {"prediction": int(label), "class_name": CLASSES[int(label)], "probabilities": row.tolist()}
            for label, row in zip(labels, probabilities, strict=True)
        ]
