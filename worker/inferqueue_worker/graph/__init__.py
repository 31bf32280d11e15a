"""What an ONNX graph says about its rows: which operators keep them apart and which mix them."""

from inferqueue_worker.graph.reading import RowReading, read_rows

__all__ = ["RowReading", "read_rows"]
