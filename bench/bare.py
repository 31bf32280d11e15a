"""The bare ONNX Runtime loop: threads that run a model on the same input again and again, and nothing else.

    python bare.py MODEL INPUTS.npz THREADS ROWS SECONDS     prints rows per second

The session has ONNX Runtime's own defaults, but for one intra-op thread for each run, as in the worker.
"""

import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    model, inputs_file, threads, rows, seconds = sys.argv[1:]
    print(rows_per_second(Path(model), Path(inputs_file), int(threads), int(rows), float(seconds)))


def rows_per_second(model: Path, inputs_file: Path, threads: int, rows: int, seconds: float) -> float:
    """Run `rows` rows at a time on each of `threads` threads for `seconds`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    inputs = {name: np.concatenate([array] * rows) for name, array in np.load(inputs_file).items()}
    session.run(None, inputs)
    done = [0.0] * threads

    def loop(number: int) -> None:
        start, runs = time.perf_counter(), 0
        while time.perf_counter() < start + seconds:
            session.run(None, inputs)
            runs += 1
        done[number] = runs * rows / (time.perf_counter() - start)

    callers = [threading.Thread(target=loop, args=(number,)) for number in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(done)


if __name__ == "__main__":
    main()
