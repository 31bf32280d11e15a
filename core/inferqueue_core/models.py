"""What a model takes and gives, as workers publish it for everybody else."""

from operator import index
from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from inferqueue_core.datatypes import Datatype
from inferqueue_core.wire import read_json


class TensorSpec(Struct, frozen=True):
    """One input or output: its name, Open Inference Protocol datatype and shape, in which -1 may be any length.

    The datatype may be given by its name, and the shape as a list; raises ValueError for a name that is none,
    and TypeError for a length that is no whole number.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        force_setattr(self, "datatype", Datatype(self.datatype))
        force_setattr(self, "shape", tuple(index(length) for length in self.shape))


class ModelInfo(Struct, frozen=True):
    """A model that some worker has loaded; the entry outlives the worker, so that a model at zero replicas stays known.

    `batchable`: rows along axis 0 of every tensor are independent, proven at load. `finite`: the model takes neither
    NaN nor infinity. `classes`: names of a classifier's labels, in label order. `json_outputs`: outputs that are
    sequences or maps; they travel as BYTES, one JSON text an element. `digest`: `sha256:` of the model's files.
    """

    name: str
    version: str
    queue: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batchable: bool = False
    finite: bool = False
    classes: tuple[str, ...] = ()
    json_outputs: tuple[str, ...] = ()
    platform: str = "onnx_onnxv1"
    digest: str = ""
    max_rows: Annotated[int, Meta(ge=1)] = 1

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read what `to_json` wrote; raise ValueError for anything else."""
        return read_json(text, cls)

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)
