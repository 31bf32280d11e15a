"""The worker of inferqueue: claims jobs in batches and runs ONNX models on them."""
