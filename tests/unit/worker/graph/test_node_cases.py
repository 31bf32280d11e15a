"""ONNX's own cases for each operator, with free rows where they fit: never read apart where ONNX Runtime mixes them."""

import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto
from onnx.backend.test.case.node import collect_testcases

from inferqueue_worker.graph import read_rows
from support.row_truth import Rows, drawn, how_rows_depend, session, with_free_rows

# Rows that these give alone and together are the same by chance: few rows do not reach as far as the operator does.
# Attention: one key for all queries. Scan of version 8 has a batch of its own, which is left to the trial.
BY_CHANCE = (
    "test_slice", "test_tril", "test_triu", "test_string_split_empty_tensor", "test_attention_bidirectional_window",
    "test_scan_sum",
)  # fmt: skip


@cache
def cases() -> list[tuple[str, ModelProto, dict[str, Any]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases()
    found = []
    for case in collected:
        if case.model is not None and case.data_sets:
            names = [declared.name for declared in case.model.graph.input]
            found.append((case.name, case.model, dict(zip(names, case.data_sets[0][0], strict=False))))
    return found


def free_inputs(data: dict[str, Any]) -> set[tuple[str, ...]]:
    """Give which inputs may have rows, the others being constants: the first, the last, two of them, all."""
    arrays = [name for name, array in data.items() if isinstance(array, np.ndarray) and array.ndim]
    if not arrays:
        return set()
    return {(arrays[0],), (arrays[-1],), tuple(arrays[:2]), tuple(arrays)}


def compare(path: Path, which: slice) -> tuple[list[str], list[str]]:
    """Give the cases that are wrongly read apart, and those whose rows run apart but are not read apart."""
    wrong, missed = [], []
    for name, model, data in cases()[which]:
        for free in sorted(free_inputs(data)):
            variant = with_free_rows(model, data, free)
            if variant is None:
                continue
            path.write_bytes(variant.SerializeToString())
            reading = read_rows(path)
            dependence = run(variant, data, free, reading.constant_outputs)
            if reading.verdict == "apart" and dependence:
                wrong.append(f"{name} {free}: {dependence}")
            # Axes, sizes and the like are constants in the graphs of people.
            settings = "from the rows' values" in reading.reason or free != free[:1]
            if reading.verdict != "apart" and dependence == "" and not settings and not name.startswith(BY_CHANCE):
                missed.append(f"{name} {free}: {reading.verdict}, {reading.reason}")
    return wrong, missed


def run(model: ModelProto, data: dict[str, Any], free: Sequence[str], constants: Sequence[str]) -> str | None:
    """Say how rows depend on one another, as ONNX Runtime runs them; None where it does not run them."""
    random = np.random.default_rng(7)

    def draws() -> Iterator[Rows]:
        while True:
            yield {name: drawn(random, data[name], 1) for name in free}

    try:
        opened = session(model)
    except Exception:  # ONNX Runtime does not have every operator for every type
        return None
    return how_rows_depend(opened, draws(), constants, [output.name for output in opened.get_outputs()], 8)


def test_no_case_of_a_sample_is_wrongly_read_apart(tmp_path: Path) -> None:
    assert compare(tmp_path / "model.onnx", slice(3, None, 25)) == ([], [])


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_no_case_is_wrongly_read_apart(tmp_path: Path) -> None:
    assert compare(tmp_path / "model.onnx", slice(None)) == ([], [])
