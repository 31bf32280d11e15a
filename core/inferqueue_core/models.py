"""What a model takes and gives, as workers publish it for everybody else."""

import contextlib
from collections.abc import Mapping
from hashlib import sha256
from operator import index
from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from inferqueue_core.datatypes import Datatype
from inferqueue_core.wire import read_json


class TensorSpec(Struct, frozen=True):
    """One input or output: its name, Open Inference Protocol datatype and shape, in which -1 may be any length.

    `any_shape`: the model does not say how many dimensions there are, and `shape` is empty. The datatype may be given
    by its name, and the shape as a list; raises ValueError for a name that is none, and TypeError for a length that is
    no whole number.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    any_shape: bool = False

    def __post_init__(self) -> None:
        force_setattr(self, "datatype", Datatype(self.datatype))
        force_setattr(self, "shape", tuple(index(length) for length in self.shape))

    @property
    def metadata_shape(self) -> tuple[int, ...]:
        """The shape as the protocol's metadata tells it, which has no way to say that any shape will do."""
        return (-1,) if self.any_shape else self.shape


class ModelInfo(Struct, frozen=True):
    """A model that some worker has loaded; the entry outlives the worker, so that a model at zero replicas stays known.

    `batchable`: rows along axis 0 of every tensor are independent, proven at load. `finite`: the model takes neither
    NaN nor infinity. `classes`: names of a classifier's classes, in the order of its probabilities. `labels`: the
    label of each of them, where labels are not 0, 1, 2, …. `json_outputs`: outputs that are sequences or maps; they
    travel as BYTES, one JSON text an element. `constant_outputs`: outputs that depend on no input: they have no rows.
    `digest`: `sha256:` of the model's files.
    `signature`: two versions with the same one take the same data and give the same outputs; see `signature_of`.
    """

    name: str
    version: str
    queue: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batchable: bool = False
    finite: bool = False
    classes: tuple[str, ...] = ()
    labels: tuple[int | str, ...] = ()
    json_outputs: tuple[str, ...] = ()
    constant_outputs: tuple[str, ...] = ()
    platform: str = "onnx_onnxv1"
    digest: str = ""
    max_rows: Annotated[int, Meta(ge=1)] = 1
    signature: str = ""

    @property
    def key(self) -> str:
        """`name/version`, which no other model shares: names hold no '/'."""
        return f"{self.name}/{self.version}"

    @property
    def version_order(self) -> tuple[int, str]:
        """What the versions of one model are sorted by: as numbers, those that are none first."""
        return (int(self.version) if self.version.isdecimal() else -1, self.version)

    def classes_of(self, output: TensorSpec) -> tuple[str, ...]:
        """Name the places along an output's last axis, by their labels where these have no names; () for other axes."""
        names = self.classes or tuple(map(str, self.labels))
        is_axis = output.datatype.is_float and output.name not in self.constant_outputs
        return names if names and is_axis and output.shape[-1:] == (len(names),) else ()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read what `to_json` wrote; raise ValueError for anything else."""
        return read_json(text, cls)

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


def signature_of(model: ModelInfo) -> str:
    """Give 12 hex digits that two models share when any data that one takes, and any output asked of it, fits both."""
    outputs = (model.outputs, model.json_outputs, model.constant_outputs, model.classes, model.labels)
    seen = (model.inputs, outputs, model.batchable, model.finite)
    return sha256(msgspec.json.encode(seen)).hexdigest()[:12]


def read_models(entries: Mapping[bytes, bytes]) -> dict[str, ModelInfo]:
    """Read the HASH of published models by `name/version`; what cannot be read is left out: the others are served."""
    models: dict[str, ModelInfo] = {}
    for field, text in entries.items():
        with contextlib.suppress(ValueError):
            model = ModelInfo.from_json(text)
            if field == model.key.encode():
                models[model.key] = model
    return models
