"""The process that loads new files to see whether they load: `REPOSITORY MODEL VERSION`; ends with 1 and the reason."""

import os
import sys
from pathlib import Path

import msgspec

from inferqueue_worker.classes import read_classes
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.onnx_predictor import OnnxPredictor
from inferqueue_worker.repository import ModelFiles, find_model

# What takes time and memory at a start, and tells nothing about whether it will succeed.
_FRUGAL = {"session.disable_prepacking": "1"}


def main(repository: str, name: str, version: str) -> None:
    """Load a model as a worker would; print why it does not load and end with 1."""
    os.nice(10)
    try:
        _load(find_model(Path(repository), name, version))
    except Exception as error:  # anything is a reason to keep the old files
        print(error if isinstance(error, ModelLoadError) else f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _load(files: ModelFiles) -> None:
    config = msgspec.structs.replace(
        files.config, graph_optimization="disabled", session_config=files.config.session_config | _FRUGAL
    )
    files = msgspec.structs.replace(files, config=config)
    predictor = OnnxPredictor(files, 1, rehearsal=True)
    predictor.load()
    # Names of classes that cannot be mapped are refused as well.
    read_classes(predictor, predictor.metadata(), files.config, runs=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
