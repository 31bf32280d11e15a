"""ONNX Runtime, imported with its telemetry off: it reads the switch once, while it is imported."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
