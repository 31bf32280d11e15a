"""What an ONNX graph says about its rows: which operators keep them apart and which mix them."""

from collections.abc import Collection
from pathlib import Path

from inferqueue_worker.graph.row_reading import RowReading, why_fixed

__all__ = ["RowReading", "read_rows", "why_fixed"]


def read_rows(path: Path, batch_labels: Collection[str] = (), outputs: Collection[str] | None = None) -> RowReading:
    """Follow axis 0 from the inputs of a model file to its outputs, or to those of them that `outputs` names.

    A file that cannot be read is undecided. Where the graph leaves it undecided, an output's axis 0 must bear the name
    of the inputs' axis 0 or one of `batch_labels`.
    """
    # The operators' rules take a while to import; workers with a predictor of their own need none.
    from inferqueue_worker.graph.reading import read_file

    return read_file(path, batch_labels, outputs)
