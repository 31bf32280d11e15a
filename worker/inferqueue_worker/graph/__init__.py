"""What an ONNX file tells of its graph."""
