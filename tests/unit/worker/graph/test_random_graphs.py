"""The main proof of the reading: what it calls apart gives the same in ONNX Runtime alone and beside other rows."""

import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_worker.graph import RowReading, read_rows
from support.random_graphs import WIDTH, random_graph
from support.row_truth import Rows, how_rows_depend, session


def draws(seed: int) -> Iterator[Rows]:
    source = np.random.default_rng(seed)
    while True:
        scale = source.choice([0.1, 1, 30])
        x, z = source.normal(size=(1, WIDTH)) * scale, source.normal(size=(1, 2, WIDTH)) * scale
        yield {"x": x.astype(np.float32), "z": z.astype(np.float32)}


def read_and_run(seed: int, steps: int, times: int = 5) -> tuple[RowReading, str | None] | None:
    """Give what the reading says of a random graph, and what ONNX Runtime does; None where no graph grew."""
    grown = random_graph(random.Random(seed), steps)
    if grown is None:
        return None
    model, outputs = grown
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        reading = read_rows(path)
    return reading, how_rows_depend(session(model), draws(seed), reading.constant_outputs, outputs, times)


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 8))
def test_rows_that_are_read_apart_run_apart(seed: int, steps: int) -> None:
    found = read_and_run(seed, steps)
    if found is not None and found[0].verdict == "apart":
        assert not found[1]


def test_most_graphs_whose_rows_run_apart_are_read_apart() -> None:
    found = [pair for seed in range(80) if (pair := read_and_run(seed, 3)) is not None]
    apart = [reading for reading, dependence in found if dependence == ""]
    assert len(apart) > 10
    assert sum(reading.verdict == "apart" for reading in apart) >= 0.7 * len(apart)
