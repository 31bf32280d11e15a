"""The model repository on disk: `<repository>/<model>/<version>/model.onnx` beside an optional `model.yaml`."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from inferqueue_worker.errors import ModelLoadError

MODEL_FILE = "model.onnx"
CONFIG_FILE = "model.yaml"


# Names in the order of the labels, or the name of each label.
GivenClasses = tuple[str, ...] | dict[int | str | bool, str]


class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What `model.yaml` may say.

    `classes` names the labels: in ascending order of the labels, or as {label: name}. `finite` refuses NaN and
    infinity. `max_rows` bounds the rows of one run. `batchable` false forbids batches; true cannot be declared, it is
    proven at load. `sample` gives the value of each input for warm-up (an object name -> nested arrays) where made-up
    values would not do; two rows prove batches.
    """

    classes: GivenClasses = ()
    finite: bool = False
    max_rows: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    batchable: bool = True
    sample: dict[str, Any] | None = None


class ModelFiles(Struct, frozen=True):
    """One version of a model on disk."""

    name: str
    version: str
    path: Path
    config: ModelConfig = field(default_factory=ModelConfig)

    def digest(self) -> str:
        """Give `sha256:` and the hex digest of the model file; '' when there is none."""
        if not self.path.is_file():
            return ""
        with self.path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def find_model(repository: Path, name: str, version: str = "") -> ModelFiles:
    """Find a model's given, or else its highest, version; raise ModelLoadError when it is not there."""
    folder = repository / name
    if not folder.is_dir():
        known = sorted(path.parent.parent.name for path in repository.glob(f"*/*/{MODEL_FILE}"))
        raise ModelLoadError(
            f"no model {name!r} in {repository.resolve()}; it holds {', '.join(sorted(set(known))) or 'no model'}. "
            f"Set MODEL_NAME, or put the model at {folder / '1' / MODEL_FILE}"
        )
    found = (path.parent.name for path in folder.glob(f"*/{MODEL_FILE}"))
    versions = sorted((name for name in found if name.isdecimal()), key=int)
    if not versions:
        raise ModelLoadError(f"model {name!r} has no version: expected {folder / '1' / MODEL_FILE}")
    chosen = version or versions[-1]
    path = folder / chosen / MODEL_FILE
    if not path.is_file():
        raise ModelLoadError(f"model {name!r} has no version {chosen}; it has {', '.join(versions)}")
    return ModelFiles(name, chosen, path, read_config(folder / CONFIG_FILE))


def model_folder(repository: Path, name: str, version: str) -> ModelFiles:
    """Name the place of a model that a predictor of the user's own loads, whatever lies there."""
    folder = repository / name
    return ModelFiles(name, version, folder / version / MODEL_FILE, read_config(folder / CONFIG_FILE))


def read_config(path: Path) -> ModelConfig:
    """Read `model.yaml`, or the defaults when there is none; raise ModelLoadError naming the field that is wrong."""
    if not path.exists():
        return ModelConfig()
    import yaml  # a twentieth of the time that a start takes, and most models have no such file

    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelLoadError(f"cannot read {path}: {error}") from error
    if not isinstance(values, (dict, type(None))):
        raise ModelLoadError(f"{path}: expected fields such as `classes: [a, b]`, found a {type(values).__name__}")
    odd = [name for name in values or () if not isinstance(name, str)]
    if odd:
        raise ModelLoadError(f"{path}: names of fields are texts, found {odd[0]!r}")
    try:
        return msgspec.convert(values or {}, ModelConfig)
    except msgspec.ValidationError as error:
        known = ", ".join(ModelConfig.__struct_fields__)
        problem = str(error).replace(" - at `$.", " in `")
        raise ModelLoadError(f"{path}: {problem}; known fields are {known}") from error
