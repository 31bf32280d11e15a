"""A trial without any graph tells models whose rows depend on each other from those whose rows do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_worker.errors import BadInputError
from inferqueue_worker.graph import RowReading
from inferqueue_worker.repository import ModelConfig
from inferqueue_worker.row_trial import arrangements
from inferqueue_worker.trial import Trial, try_model
from support.row_functions import APART, MIXING, Function, RowFunction, padded_words

NUMBERS = [Datatype.FP32, Datatype.FP64, Datatype.INT64, Datatype.INT32, Datatype.UINT8, Datatype.INT8]


def tried(function: Function, datatype: Datatype = Datatype.FP32) -> Trial:
    def in_float(x: Array) -> object:
        return function(x if datatype.is_float else x.astype(np.float32))

    return try_model(RowFunction(in_float, datatype), ModelConfig())


@pytest.mark.parametrize("name", MIXING)
def test_rows_that_depend_on_each_other_are_found(name: str) -> None:
    trial = tried(MIXING[name])
    assert not trial.batchable
    assert "'y'" in trial.reason or "output of a row" in trial.reason
    assert trial.decider == "trial"


@pytest.mark.parametrize("name", APART)
def test_rows_that_stay_apart_are_batched(name: str) -> None:
    trial = tried(APART[name])
    assert trial.batchable, trial.reason
    assert trial.rows is not None
    assert trial.rows.rows >= 3


@pytest.mark.parametrize("datatype", NUMBERS)
@pytest.mark.parametrize("name", ["scaled by the largest", "mean taken off", "rank among rows", "flat list of finds"])
def test_every_type_of_number_shows_it(name: str, datatype: Datatype) -> None:
    assert not tried(MIXING[name], datatype).batchable


@pytest.mark.parametrize("datatype", NUMBERS)
@pytest.mark.parametrize("name", ["same", "network", "label of a network"])
def test_every_type_of_number_is_batched(name: str, datatype: Datatype) -> None:
    trial = tried(APART[name], datatype)
    assert trial.batchable, trial.reason


def test_texts_that_are_padded_to_the_longest_are_found() -> None:
    trial = try_model(RowFunction(padded_words, Datatype.BYTES, (-1, 1), Datatype.BYTES), ModelConfig())
    assert "of a row has shape" in trial.reason


def test_texts_that_are_measured_are_batched() -> None:
    predictor = RowFunction(lambda x: np.array([len(text) for text in x[:, 0]]), Datatype.BYTES, (-1, 1))
    assert try_model(predictor, ModelConfig()).batchable


def taking(largest: float, function: Function) -> Function:
    def take(x: Array) -> object:
        if (np.abs(x) > largest).any() or (x < 0).any():
            raise BadInputError("out of range")
        return function(x)

    return take


def test_rows_that_the_model_refuses_are_left_out() -> None:
    apart = try_model(RowFunction(taking(3, lambda x: x * 2), Datatype.INT64), ModelConfig())
    mixed = try_model(RowFunction(taking(3, lambda x: x / (1 + x.max())), Datatype.INT64), ModelConfig())
    assert apart.batchable, apart.reason
    assert apart.rows is not None
    assert apart.rows.refused > 0
    assert not mixed.batchable


def test_all_rows_of_a_sample_are_tried() -> None:
    only = [[n, n, n, n] for n in (71, 72, 73, 74, 75)]

    def only_these(x: Array) -> object:
        if not np.isin(x, only).all():
            raise BadInputError("unknown")
        return x + (x == 75).any()

    trial = try_model(RowFunction(only_these, Datatype.INT64), ModelConfig(sample={"x": only}))
    assert "depends on the rows beside it" in trial.reason


def test_one_usable_row_proves_nothing() -> None:
    def only_ones(x: Array) -> object:
        if (x != 1).any():
            raise BadInputError("unknown")
        return x

    trial = try_model(RowFunction(only_ones, Datatype.INT64), ModelConfig())
    assert not trial.batchable
    assert "give a `sample` of two rows in model.yaml" in trial.reason


def test_a_graph_that_mixes_needs_no_trial() -> None:
    predictor = RowFunction(lambda x: x, reading=RowReading("mixed", "node 'n' (NonZero) gives what it finds"))
    trial = try_model(predictor, ModelConfig())
    assert (trial.batchable, trial.reason, trial.decider) == (
        False,
        "node 'n' (NonZero) gives what it finds",
        "graph",
    )
    assert max(predictor.rows) == 1


def test_a_graph_that_keeps_rows_apart_spares_most_of_the_trial() -> None:
    predictor = RowFunction(lambda x: x, reading=RowReading("apart", ""))
    trial = try_model(predictor, ModelConfig(max_rows=1))
    assert (trial.batchable, trial.decider) == (True, "graph")
    assert sum(predictor.rows) < 20


def test_a_graph_that_keeps_rows_apart_is_not_believed_against_the_trial() -> None:
    trial = try_model(RowFunction(MIXING["mean taken off"], reading=RowReading("apart", "")), ModelConfig())
    assert (trial.batchable, trial.decider) == (False, "trial")


def test_what_the_graph_leaves_open_is_said() -> None:
    predictor = RowFunction(lambda x: x, reading=RowReading("undecided", "node 'n' (my.Op) is unknown"))
    trial = try_model(predictor, ModelConfig())
    assert (trial.batchable, trial.decider) == (True, "trial")
    assert "node 'n' (my.Op) is unknown" in trial.reason


@given(st.integers(2, 9), st.booleans())
def test_an_order_names_rows_that_there_are(rows: int, confirming: bool) -> None:
    for order in arrangements(rows, confirming=confirming):
        assert len(order) > 1
        assert set(order) <= set(range(rows))


@given(st.integers(2, 9))
def test_every_row_stands_beside_different_partners(rows: int) -> None:
    orders = list(arrangements(rows, confirming=False))
    for row in range(rows):
        beside = {order[place - 1] for order in orders for place, index in enumerate(order) if index == row and place}
        assert len(beside) > 1
