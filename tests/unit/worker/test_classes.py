"""Names belong to labels, wherever labels begin; names that cannot be mapped are refused in one sentence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.models import TensorSpec
from inferqueue_worker.classes import Classes, find_classifier, name_classes, read_classes
from inferqueue_worker.errors import BadInputError, ModelLoadError
from inferqueue_worker.predictor import Label, ModelSignature, Output, RunControl
from inferqueue_worker.repository import GivenClasses, ModelConfig
from support.onnx_models import array_classifier
from support.served import load

ABC = ("a", "b", "c")
LABEL = TensorSpec("label", Datatype.INT64, (-1,))
WORD = TensorSpec("label", Datatype.BYTES, (-1,))
PROBABILITIES = TensorSpec("probabilities", Datatype.FP32, (-1, 3))
MAPS = TensorSpec("probabilities", Datatype.BYTES, (-1,))
X = TensorSpec("x", Datatype.FP32, (-1,))


@pytest.mark.parametrize(
    ("given_names", "labels", "expected"),
    [
        (ABC, (1, 2, 3), Classes(ABC, (1, 2, 3))),
        (ABC, (-1, 0, 1), Classes(ABC, (-1, 0, 1))),
        (ABC, (0, 1, 2), Classes(ABC)),
        (ABC, (), Classes(ABC)),
        (ABC, None, Classes(ABC)),
        ((), (1, 2, 3), Classes((), (1, 2, 3))),
        ((), (), Classes()),
        ((), None, Classes()),
        ({1: "a", 3: "c", 2: "b"}, (1, 2, 3), Classes(ABC, (1, 2, 3))),
        ({2: "a", 0: "b", 1: "c"}, (2, 0, 1), Classes(ABC, (2, 0, 1))),
        ({"-1": "no", "1": "yes"}, (-1, 1), Classes(("no", "yes"), (-1, 1))),
        ({False: "no", True: "yes"}, (0, 1), Classes(("no", "yes"))),
        ({7: "b", 5: "a"}, None, Classes(("a", "b"), (5, 7))),
    ],
    ids=str,
)
def test_names_go_to_labels(given_names: GivenClasses, labels: tuple[Label, ...] | None, expected: Classes) -> None:
    assert name_classes(given_names, labels, None, texts=False) == expected


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        ((), Classes(("cat", "dog"), ("cat", "dog"))),
        (("Katze", "Hund"), Classes(("Katze", "Hund"), ("cat", "dog"))),
        (("dog", "cat"), Classes(("cat", "dog"), ("cat", "dog"))),
        ({"dog": "Hund", "cat": "Katze"}, Classes(("Katze", "Hund"), ("cat", "dog"))),
    ],
    ids=str,
)
def test_names_go_to_labels_that_are_texts(given_names: GivenClasses, expected: Classes) -> None:
    assert name_classes(given_names, ("cat", "dog"), None, texts=True) == expected


@pytest.mark.parametrize(
    ("given_names", "labels", "width", "reason"),
    [
        (ABC, (1, 2, 3, 4), None, "3 names for the 4 labels of the model: 1, 2, 3, 4"),
        (ABC, (), 4, "3 names for the 4 labels of the model: 0, 1, 2, 3"),
        (ABC, None, 4, "3 names, but the model gives 4 probabilities .* name to each label"),
        (ABC, None, 1, "3 names, but the model gives 1 probabilities"),
        (ABC, (3, 1, 2), None, "the labels 3, 1, 2, and which of these names is whose cannot be told"),
        (("cat", "bird"), ("cat", "dog"), None, "the labels 'cat', 'dog', and which of these names"),
        ({1: "a", 2: "b"}, (1, 2, 3), None, "2 names for the 3 labels of the model, 1, 2, 3: 3 has none"),
        ({1: "a", 2: "b", 4: "c"}, (1, 2, 3), None, "4 is none of the labels of the model: 1, 2, 3"),
        ({3: "d", 0: "a"}, (), 3, "3 is none of the labels of the model: 0, 1, 2"),
        ({"cat": "a"}, (1, 2), None, "'cat' is no label: the labels of the model are whole numbers"),
        (ABC, tuple(range(1, 100)), None, r"3 names for the 99 labels of the model: 1, .*, 12, …$"),
    ],
    ids=str,
)
def test_names_that_cannot_be_mapped_are_refused(
    given_names: GivenClasses, labels: tuple[Label, ...] | None, width: int | None, reason: str
) -> None:
    texts = labels is not None and "cat" in labels
    with pytest.raises(ModelLoadError, match=f"^model.yaml: classes: .*{reason}"):
        name_classes(given_names, labels, width, texts=texts)


@given(st.sets(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9))
def test_a_list_names_labels_in_ascending_order(labels: set[int]) -> None:
    listed = tuple(sorted(labels))
    names = tuple(f"class {label}" for label in listed)
    found = name_classes(names, listed, len(listed), texts=False)
    assert dict(zip(found.labels or range(len(listed)), found.names, strict=True)) == {
        label: f"class {label}" for label in labels
    }


@given(st.permutations([5, -3, 0, 9]))
def test_a_mapping_names_labels_in_whatever_order_they_are_listed(labels: list[int]) -> None:
    names: dict[int | str | bool, str] = {label: f"class {label}" for label in (0, 5, 9, -3)}
    found = name_classes(names, tuple(labels), 4, texts=False)
    assert dict(zip(found.labels, found.names, strict=True)) == names
    assert found.labels == tuple(labels)


class Answering:
    """A predictor that answers every run with the same outputs, or refuses every run."""

    def __init__(self, outputs: Mapping[str, Output] | None) -> None:
        self._outputs = outputs
        self.runs = 0

    def load(self) -> None: ...

    def metadata(self) -> ModelSignature:
        raise AssertionError("it is asked once, by who loads it")

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str], control: RunControl) -> dict[str, Output]:
        self.runs += 1
        if self._outputs is None:
            raise BadInputError("no")
        return dict(self._outputs)


def classes_of(
    outputs: Mapping[TensorSpec, Output], config: ModelConfig | None = None, **signature: Any
) -> tuple[Classes, int]:
    """Give the classes that are read of a model with these outputs, and how many runs that took."""
    predictor = Answering({spec.name: value for spec, value in outputs.items()})
    read = ModelSignature((X,), tuple(outputs), **signature)
    return read_classes(predictor, read, config or ModelConfig(), runs=True), predictor.runs


WORDS = np.array(["cat", "dog", "owl"], dtype=object)
NAMES = TensorSpec("class_labels", Datatype.BYTES, (3,))
SURE = np.array([[0.9, 0.1, 0]], np.float32)


def test_what_the_file_tells_needs_no_run() -> None:
    found = classes_of({LABEL: np.array([1]), PROBABILITIES: SURE}, ModelConfig(ABC), labels=(1, 2, 3))
    assert found == (Classes(ABC, (1, 2, 3)), 0)


def test_the_keys_of_maps_are_looked_for_in_a_run() -> None:
    maps: Output = [{-1: 0.5, 1: 0.5}]
    found = classes_of({LABEL: np.array([1]), MAPS: maps}, ModelConfig(("no", "yes")), json_outputs=("probabilities",))
    assert found == (Classes(("no", "yes"), (-1, 1)), 1)


def test_a_constant_output_lists_labels() -> None:
    outputs: dict[TensorSpec, Output] = {WORD: WORDS[:1], PROBABILITIES: SURE, NAMES: WORDS}
    assert classes_of(outputs, constant_outputs=("class_labels",))[0] == Classes(tuple(WORDS), tuple(WORDS))
    numbers = TensorSpec("class_labels", Datatype.INT64, (3,))
    outputs = {LABEL: np.array([1]), PROBABILITIES: SURE, numbers: np.array([1, 2, 3])}
    found = classes_of(outputs, ModelConfig(ABC), constant_outputs=("class_labels",))
    assert found[0] == Classes(ABC, (1, 2, 3))


@pytest.mark.parametrize(("labels", "expected"), [((1, 2, 3), (1, 2, 3)), ((), ()), (None, ())])
def test_a_constant_output_names_labels_that_are_numbers(
    labels: tuple[Label, ...] | None, expected: tuple[Label, ...]
) -> None:
    outputs: dict[TensorSpec, Output] = {LABEL: np.array([1]), PROBABILITIES: SURE, NAMES: WORDS}
    found = classes_of(outputs, labels=labels, constant_outputs=("class_labels",))
    assert found[0] == Classes(tuple(WORDS), expected)


def test_model_yaml_wins_over_a_constant_output() -> None:
    outputs: dict[TensorSpec, Output] = {LABEL: np.array([1]), PROBABILITIES: SURE, NAMES: WORDS}
    found = classes_of(outputs, ModelConfig(ABC), labels=(1, 2, 3), constant_outputs=("class_labels",))
    assert found[0] == Classes(ABC, (1, 2, 3))


def test_another_constant_names_nothing() -> None:
    other = TensorSpec("version", Datatype.BYTES, (1,))
    outputs: dict[TensorSpec, Output] = {LABEL: np.array([1]), PROBABILITIES: SURE, other: WORDS[:1]}
    assert classes_of(outputs, constant_outputs=("version",))[0] == Classes()


def test_the_number_of_probabilities_is_counted_where_the_file_leaves_it_open() -> None:
    open_end = TensorSpec("probabilities", Datatype.FP32, (-1, -1))
    with pytest.raises(ModelLoadError, match="2 names, but the model gives 3 probabilities"):
        classes_of({LABEL: np.array([1]), open_end: SURE}, ModelConfig(("a", "b")))


@pytest.mark.parametrize("runs", [True, False])
def test_what_cannot_be_looked_for_is_left_open(runs: bool) -> None:
    signature = ModelSignature((X,), (LABEL, TensorSpec("probabilities", Datatype.FP32, (-1, -1))))
    predictor = Answering(None)
    assert read_classes(predictor, signature, ModelConfig(ABC), runs=runs) == Classes(ABC)
    assert (predictor.runs > 0) is runs


@pytest.mark.parametrize(
    ("output", "given_names", "names"),
    [
        (TensorSpec("logits", Datatype.FP32, (-1, 3)), ABC, ABC),
        (TensorSpec("logits", Datatype.FP32, (-1, -1)), ABC, ABC),
        (TensorSpec("logits", Datatype.FP32, (), any_shape=True), ABC, ABC),
        (TensorSpec("logits", Datatype.FP32, (3,)), {2: "c", 0: "a", "1": "b"}, ABC),
    ],
    ids=str,
)
def test_without_labels_names_are_those_of_places_along_an_axis(
    output: TensorSpec, given_names: GivenClasses, names: tuple[str, ...]
) -> None:
    signature = ModelSignature((X,), (output,))
    assert read_classes(Answering(None), signature, ModelConfig(given_names), runs=False) == Classes(names)


@pytest.mark.parametrize(
    ("outputs", "given_names", "reason"),
    [
        ((TensorSpec("y", Datatype.FP32, (-1, 4)),), ABC, r"3 names fit no output of the model \('y' \[-1, 4\]\)"),
        ((LABEL,), ABC, "3 names fit no output"),
        ((TensorSpec("label", Datatype.INT64, (-1, 2)), MAPS), ABC, "3 names fit no output"),
        ((TensorSpec("y", Datatype.FP32, (-1, 2)),), {-1: "a", 1: "b"}, "no output of the model gives labels"),
    ],
    ids=str,
)
def test_names_without_a_place_are_refused(
    outputs: tuple[TensorSpec, ...], given_names: GivenClasses, reason: str
) -> None:
    json_outputs = tuple(spec.name for spec in outputs if spec is MAPS)
    signature = ModelSignature((X,), outputs, json_outputs)
    with pytest.raises(ModelLoadError, match=reason):
        read_classes(Answering(None), signature, ModelConfig(given_names), runs=False)


@pytest.mark.parametrize("datatype", [Datatype.INT8, Datatype.UINT64, Datatype.BOOL, Datatype.BYTES])
def test_labels_are_numbers_truths_or_texts(datatype: Datatype) -> None:
    outputs = (TensorSpec("label", datatype, (-1,)), PROBABILITIES)
    assert find_classifier(outputs, (), (), named=False) is not None


def test_constants_do_not_count_among_the_outputs_of_a_classifier() -> None:
    assert find_classifier((LABEL, PROBABILITIES, NAMES), (), ("class_labels",), named=False) is not None
    assert find_classifier((LABEL, PROBABILITIES, NAMES), (), (), named=False) is None


def test_a_model_whose_names_do_not_fit_is_refused_at_load(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="2 names for the 3 labels of the model: 0, 1, 2"):
        load(tmp_path, array_classifier(), "classes: [a, b]\n")
