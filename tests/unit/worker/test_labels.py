"""A classifier's labels are read from its graph, in whatever way a converter has written them down."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper
from skl2onnx import to_onnx
from sklearn.base import ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from inferqueue_worker.labels import read_labels
from inferqueue_worker.predictor import Label
from support.onnx_models import FLOAT, INT64, OPSET, STRING, make, value

ROWS = np.random.default_rng(5).normal(size=(90, 4)).astype(np.float32)
PLACES = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0.3)
OPSETS = {"": OPSET, "ai.onnx.ml": 3}

CLASSIFIERS: list[ClassifierMixin] = [
    LogisticRegression(),
    SVC(probability=True),
    GaussianNB(),
    KNeighborsClassifier(3),
    RandomForestClassifier(3),
    GradientBoostingClassifier(n_estimators=2),
    AdaBoostClassifier(n_estimators=2),
    MLPClassifier((3,), max_iter=5),
    SGDClassifier(loss="log_loss"),
    OneVsRestClassifier(LogisticRegression()),
    CalibratedClassifierCV(LogisticRegression(), cv=2),
]


def written(folder: Path, model: ModelProto | bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def converted(folder: Path, classifier: Any, labels: Sequence[Any], **options: Any) -> tuple[Path, list[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few rounds to converge, which is not the question here
        fitted = classifier.fit(ROWS, np.array(labels)[PLACES])
        model: onnx.ModelProto = to_onnx(fitted, ROWS[:1], options={id(fitted): options}, target_opset=OPSETS)
    return written(folder, model), [output.name for output in model.graph.output]


@pytest.mark.parametrize("labels", [(1, 2, 3), (-1, 0, 1), (0, 10, 70_000), ("B", "z", "ä")], ids=str)
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda made: type(made).__name__)
def test_the_labels_of_any_classifier_of_scikit_learn_are_found(
    tmp_path: Path, classifier: ClassifierMixin, labels: tuple[Label, ...]
) -> None:
    path, outputs = converted(tmp_path, clone(classifier), labels, zipmap=False)
    assert read_labels(path, outputs[0], outputs[1]) == labels


@pytest.mark.parametrize("labels", [(1, 2, 3), ("B", "z", "ä")], ids=str)
def test_the_keys_of_maps_are_labels(tmp_path: Path, labels: tuple[Label, ...]) -> None:
    path, outputs = converted(tmp_path, LogisticRegression(), labels, zipmap=True)
    assert read_labels(path, *outputs) == labels
    assert read_labels(path, "elsewhere", outputs[1]) == labels


def scored(*nodes: NodeProto, constants: dict[str, Any] | None = None, kind: int = INT64) -> ModelProto:
    """A model whose `scores` are its input, and whose `label` these nodes make of it."""
    outputs = [value("label", kind, ["rows"]), value("scores", FLOAT, ["rows", 3])]
    scores = helper.make_node("Identity", ["x"], ["scores"])
    model = make([scores, *nodes], [value("x", FLOAT, ["rows", 3])], outputs, constants)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


LARGEST = helper.make_node("ArgMax", ["x"], ["place"], axis=1, keepdims=0)
NAMED = helper.make_node("Identity", ["place"], ["label"])
PICKED = helper.make_node("Gather", ["table", "place"], ["label"])


def encoder(**attributes: Any) -> NodeProto:
    return helper.make_node("LabelEncoder", ["place"], ["label"], domain="ai.onnx.ml", **attributes)


def constant(**attributes: Any) -> NodeProto:
    return helper.make_node("Constant", [], ["table"], **attributes)


MANY = np.arange(100_000, 110_000)
KEYS, TEXTS = (0, 1, 2), ("x", "y", "z")


ARRAYS: dict[str, Any] = {
    "int64": [7, 5, 6],
    "int32": np.array([7, 5, 6], np.int32),
    "float64": np.array([7, 5, 6], np.float64),
}
FOLLOWED: dict[str, tuple[ModelProto, tuple[Label, ...] | None]] = {
    "ArgMax": (scored(LARGEST, NAMED), ()),
    "TopK": (scored(helper.make_node("TopK", ["x", "one"], ["top", "place"]), NAMED, constants={"one": [1]}), ()),
    "long table": (scored(LARGEST, PICKED, constants={"table": MANY}), tuple(MANY.tolist())),
    "table of texts": (scored(LARGEST, PICKED, constants={"table": np.array(TEXTS, object)}, kind=STRING), TEXTS),
    "Constant": (scored(LARGEST, constant(value_ints=[4, 9, 16]), PICKED), (4, 9, 16)),
    "Constant of texts": (scored(LARGEST, constant(value_strings=TEXTS), PICKED, kind=STRING), TEXTS),
    "encoded": (scored(LARGEST, encoder(keys_int64s=[2, 1, 0], values_strings=TEXTS), kind=STRING), ("z", "y", "x")),
    "encoded as numbers": (scored(LARGEST, encoder(keys_int64s=KEYS, values_int64s=[3, 4, -5])), (3, 4, -5)),
    "encoded from 1": (scored(LARGEST, encoder(keys_int64s=[1, 2, 3], values_int64s=[3, 4, -5])), None),
    "fractions": (scored(LARGEST, PICKED, constants={"table": np.array([0.5, 1, 2], np.float32)}), None),
    "computed": (scored(helper.make_node("Cast", ["mean"], ["label"], to=INT64), constants={"mean": [1.0]}), None),
}
FOLLOWED |= {
    f"table of {name}": (scored(LARGEST, PICKED, constants={"table": table}), (7, 5, 6))
    for name, table in ARRAYS.items()
}


@pytest.mark.parametrize("way", FOLLOWED)
def test_labels_are_followed_through_a_graph(tmp_path: Path, way: str) -> None:
    model, labels = FOLLOWED[way]
    assert read_labels(written(tmp_path, model), "label", "scores") == labels


def test_a_label_that_is_an_input_is_unknown(tmp_path: Path) -> None:
    model = scored(NAMED)
    model.graph.input.append(value("place", INT64, ["rows"]))
    assert read_labels(written(tmp_path, model), "label", "scores") is None


def test_weights_that_lie_elsewhere_tell_no_labels(tmp_path: Path) -> None:
    model = scored(LARGEST, PICKED, constants={"table": np.array([7, 5, 6])})
    (table,) = model.graph.initializer
    table.ClearField("raw_data")
    table.data_location = TensorProto.EXTERNAL
    table.external_data.add(key="location", value="weights.bin")
    assert read_labels(written(tmp_path, model), "label", "scores") is None


@pytest.mark.parametrize("length", [0, 9, -60])
def test_a_damaged_file_tells_no_labels(tmp_path: Path, length: int) -> None:
    whole = scored(LARGEST, NAMED).SerializeToString()
    assert read_labels(written(tmp_path, whole[:length]), "label", "scores") is None


def test_a_file_that_is_not_there_tells_no_labels(tmp_path: Path) -> None:
    assert read_labels(tmp_path / "model.onnx", "label", "scores") is None
