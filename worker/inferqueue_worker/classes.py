"""The names of a classifier's classes: whose probability is whose, and what its labels are called.

Labels are not indices. They come from the graph, from the keys of its maps, or from an output that lists them; names
come from `model.yaml`, or from an output that lists those.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from inferqueue_core.datatypes import Array, Datatype
from inferqueue_core.models import TensorSpec
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.predictor import Label, ModelSignature, Output, Predictor, RunControl
from inferqueue_worker.repository import GivenClasses, ModelConfig
from inferqueue_worker.samples import samples

# What sklearn-onnx and other converters call a classifier's two outputs.
_LABELS = {"label", "output_label"}
_PROBABILITIES = {"probabilities", "output_probability", "probability", "scores"}
_SHOWN = 12


class ClassifierOutputs(Struct, frozen=True):
    """The names of a classifier's two outputs."""

    label: str
    probabilities: str


class Classes(Struct, frozen=True):
    """Names in the order of the probabilities, and the label of each; no labels where they are 0, 1, 2, …."""

    names: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()


def find_classifier(
    outputs: Sequence[TensorSpec], json_outputs: Sequence[str], constant_outputs: Sequence[str], *, named: bool
) -> ClassifierOutputs | None:
    """Find the outputs of a classifier: a label and probabilities, by name, or by shape when its classes are `named`.

    Constants beside them do not count.
    """
    varying = [spec for spec in outputs if spec.name not in constant_outputs]
    if len(varying) != 2:
        return None
    label, probabilities = varying
    if not named and not (label.name in _LABELS and probabilities.name in _PROBABILITIES):
        return None
    if not (label.datatype.is_integer or label.datatype in (Datatype.BOOL, Datatype.BYTES)):
        return None
    if label.name in json_outputs or not (len(label.shape) == 1 or label.any_shape):
        return None
    is_matrix = probabilities.datatype.is_float and (len(probabilities.shape) == 2 or probabilities.any_shape)
    if not is_matrix and probabilities.name not in json_outputs:
        return None
    return ClassifierOutputs(label.name, probabilities.name)


def read_classes(predictor: Predictor, signature: ModelSignature, config: ModelConfig, *, runs: bool) -> Classes:
    """Name the classes of a model; raise ModelLoadError where the names of `model.yaml` cannot be mapped.

    `runs` tells that the model has run on a sample: what its file does not tell is then looked for in such a run.
    """
    given = config.classes
    outputs = find_classifier(signature.outputs, signature.json_outputs, signature.constant_outputs, named=bool(given))
    if outputs is None:
        return _of_an_axis(given, signature) if given else Classes()
    specs = {spec.name: spec for spec in signature.outputs}
    is_map = outputs.probabilities in signature.json_outputs
    width = _last_axis(specs[outputs.probabilities])
    seen: Mapping[str, Output] = {}
    if runs and (signature.constant_outputs or (signature.labels is None and is_map) or (given and width is None)):
        seen = _observe(predictor, signature, config.sample)
    if not is_map and width is None and outputs.probabilities in seen:
        width = _length(seen[outputs.probabilities])
    labels = signature.labels
    if labels is None and is_map:
        labels = _keys(seen.get(outputs.probabilities))
    texts = specs[outputs.label].datatype is Datatype.BYTES
    lists = _flat_constants(seen, signature.constant_outputs, len(labels) if labels else width)
    labels = _of_type(labels or _first_of_kind(lists, "OU" if texts else "iu") or labels, texts=texts)
    names = () if texts else _first_of_kind(lists, "OU")
    if names and not given:
        return _plain(tuple(map(str, names)), labels or ())
    return name_classes(given, labels, width, texts=texts)


def name_classes(given: GivenClasses, labels: tuple[Label, ...] | None, width: int | None, *, texts: bool) -> Classes:
    """Map names to labels; raise ModelLoadError where that cannot be done.

    `labels` are in the order of the probabilities, () for 0, 1, 2, …, None when unknown; `width` is the number of the
    probabilities, None when unknown; `texts` tells that labels are texts.
    """
    # One score stands for two classes, or for none.
    if labels == () and width not in (None, 1):
        labels = tuple(range(width or 0))
    if not given:
        return _plain(tuple(map(str, labels or ())) if texts else (), labels or ())
    if isinstance(given, Mapping):
        return _mapped(given, labels, texts=texts)
    if not labels:
        if width is not None and width != len(given):
            raise _refusal(
                f"{len(given)} names, but the model gives {width} probabilities and does not say which labels it has; "
                "give a name to each label: {label: name, …}"
            )
        return Classes(given)
    if len(given) != len(labels):
        raise _refusal(f"{len(given)} names for the {len(labels)} labels of the model: {_shown(labels)}")
    if set(given) == set(labels):
        return _plain(tuple(map(str, labels)), labels)  # labels that are texts name themselves, in whatever order
    if list(labels) != sorted(labels, key=_order) or set(given) & set(map(str, labels)):
        raise _refusal(
            f"the model has the labels {_shown(labels)}, and which of these names is whose cannot be told; "
            "give a name to each label: {label: name, …}"
        )
    return _plain(given, labels)


def _mapped(given: Mapping[Label, str], labels: tuple[Label, ...] | None, *, texts: bool) -> Classes:
    names = {_as_label(key, texts=texts): name for key, name in given.items()}
    if not labels:
        labels = tuple(sorted(names, key=_order))
    unknown = [key for key in names if key not in labels]
    if unknown:
        raise _refusal(f"{unknown[0]!r} is none of the labels of the model: {_shown(labels)}")
    unnamed = [label for label in labels if label not in names]
    if unnamed:
        raise _refusal(
            f"{len(names)} names for the {len(labels)} labels of the model, {_shown(labels)}: {unnamed[0]!r} has none"
        )
    return _plain(tuple(names[label] for label in labels), labels)


def _as_label(key: Label, *, texts: bool) -> Label:
    if texts:
        return str(key)
    try:
        return int(key)  # YAML reads `true` and `1` as themselves, "1" as a text
    except ValueError:
        raise _refusal(f"{key!r} is no label: the labels of the model are whole numbers") from None


def _of_an_axis(given: GivenClasses, signature: ModelSignature) -> Classes:
    """Take names for the places along the last axis of an output, where no output gives labels."""
    if not isinstance(given, Mapping):
        names = given
    else:
        indices = {_as_label(key, texts=False): name for key, name in given.items()}
        if set(indices) != set(range(len(indices))):
            raise _refusal("no output of the model gives labels, so only 0, 1, 2, … can have names")
        names = tuple(indices[index] for index in range(len(indices)))
    left_out = (*signature.constant_outputs, *signature.json_outputs)
    if not any(_has_place_for(len(names), spec) for spec in signature.outputs if spec.name not in left_out):
        shown = ", ".join(f"{spec.name!r} {list(spec.metadata_shape)}" for spec in signature.outputs)
        raise _refusal(f"{len(names)} names fit no output of the model ({shown}); leave `classes` out")
    return Classes(names)


def _has_place_for(count: int, spec: TensorSpec) -> bool:
    if spec.any_shape or (len(spec.shape) > 1 and spec.shape[-1] == -1):
        return True
    return spec.shape[-1:] == (count,)


def _flat_constants(seen: Mapping[str, Output], constants: Sequence[str], count: int | None) -> list[Array]:
    """Return the constant outputs that may list classes: those with one element for each of `count`."""
    values = [seen[name] for name in constants if name in seen]
    return [value for value in values if isinstance(value, np.ndarray) and value.shape == (count,)]


def _first_of_kind(lists: Sequence[Array], kinds: str) -> tuple[Label, ...]:
    return next((tuple(value.tolist()) for value in lists if value.dtype.kind in kinds), ())


def _observe(predictor: Predictor, signature: ModelSignature, sample: Mapping[str, Any] | None) -> dict[str, Output]:
    """Return the outputs of a run on the first sample that the model takes; nothing when it takes none."""
    names = [spec.name for spec in signature.outputs]
    for made in samples(signature, sample):
        try:
            return predictor.predict(made.first, names, RunControl())
        except Exception:  # the trial of the model says what it refuses, and why
            continue
    return {}


def _of_type(labels: tuple[Label, ...] | None, *, texts: bool) -> tuple[Label, ...] | None:
    """Return labels as the output gives them, which may have been cast; None where they cannot be the output's."""
    if not labels:
        return labels
    if texts:
        return tuple(map(str, labels))
    return labels if all(isinstance(label, int) for label in labels) else None


def _keys(maps: Output | None) -> tuple[Label, ...] | None:
    if isinstance(maps, list) and maps and isinstance(maps[0], dict):
        return tuple(maps[0])
    return None


def _last_axis(spec: TensorSpec) -> int | None:
    return spec.shape[-1] if spec.shape and spec.shape[-1] >= 0 else None


def _length(value: Output) -> int | None:
    return value.shape[-1] if isinstance(value, np.ndarray) and value.ndim else None


def _plain(names: tuple[str, ...], labels: tuple[Label, ...]) -> Classes:
    return Classes(names, () if labels == tuple(range(len(labels))) else labels)


def _order(label: Label) -> tuple[int, str]:
    return (label, "") if isinstance(label, int) else (0, label)


def _shown(labels: Sequence[Label]) -> str:
    shown = ", ".join(map(repr, labels[:_SHOWN]))
    return shown if len(labels) <= _SHOWN else f"{shown}, …"


def _refusal(reason: str) -> ModelLoadError:
    return ModelLoadError(f"model.yaml: classes: {reason}")
