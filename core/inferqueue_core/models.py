"""What a model takes and gives, as workers publish it for everybody else."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from inferqueue_core.datatypes import Datatype


class TensorSpec(BaseModel):
    """One input or output: its name, Open Inference Protocol datatype and shape, in which -1 may be any length."""

    model_config = ConfigDict(frozen=True)

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class ModelInfo(BaseModel):
    """A model that some worker has loaded; the entry outlives the worker, so that a model at zero replicas stays known.

    `batchable`: rows along axis 0 of every tensor are independent, proven at load. `finite`: the model takes neither
    NaN nor infinity. `classes`: names of a classifier's labels, in label order. `json_outputs`: outputs that are
    sequences or maps; they travel as BYTES, one JSON text an element. `digest`: `sha256:` of the model file.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

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
    max_rows: int = Field(1, ge=1)

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read what `to_json` wrote; raise pydantic.ValidationError for anything else."""
        return cls.model_validate_json(text)

    def to_json(self) -> str:
        return self.model_dump_json()
