"""The model repository on disk: `<repository>/<model>/<version>/model.onnx` beside an optional `model.yaml`."""

import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.model_content import digest

MODEL_FILE = "model.onnx"
CONFIG_FILE = "model.yaml"


_Scalar = str | int | float | bool
Optimization = Literal["disabled", "basic", "extended", "layout", "all"]
_Providers = dict[str, dict[str, _Scalar] | None]


class Threads(Struct, frozen=True, forbid_unknown_fields=True):
    """Threads of one run: `intra_op` inside an operator (None: INTRA_OP_THREADS), `inter_op` operators side by side."""

    intra_op: Annotated[int, Meta(ge=1, le=256)] | None = None
    inter_op: Annotated[int, Meta(ge=1, le=256)] = 1


# Names in the order of the labels, or the name of each label.
GivenClasses = tuple[str, ...] | dict[int | str | bool, str]


class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What `model.yaml` may say.

    `classes` names the labels: in ascending order of the labels, or as {label: name}. `finite` refuses NaN and
    infinity. `max_rows` bounds the rows of one run. `batchable` false forbids batches; true cannot be declared, it is
    proven at load. `sample` gives the value of each input for warm-up (an object name -> nested arrays) where made-up
    values would not do; two rows prove batches. `batch_labels` are the names of an axis 0 that mean the batch, of
    inputs and outputs.
    """

    classes: GivenClasses = ()
    finite: bool = False
    max_rows: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    batchable: bool = True
    sample: dict[str, Any] | None = None
    batch_labels: tuple[str, ...] = ()
    custom_ops: str | tuple[str, ...] = ()
    execution_providers: str | _Providers | tuple[str | _Providers, ...] = ()
    graph_optimization: Optimization = "all"
    threads: Annotated[int, Meta(ge=1, le=256)] | Threads = Threads()
    session_config: dict[str, _Scalar] = {}
    hidden_outputs: str | tuple[str, ...] = ()

    @property
    def custom_op_names(self) -> tuple[str, ...]:
        """The libraries, of which one may stand without a list."""
        return (self.custom_ops,) if isinstance(self.custom_ops, str) else self.custom_ops

    @property
    def hidden_output_names(self) -> tuple[str, ...]:
        """The outputs to hide, of which one may stand without a list."""
        return (self.hidden_outputs,) if isinstance(self.hidden_outputs, str) else self.hidden_outputs

    @property
    def execution_provider_options(self) -> dict[str, dict[str, _Scalar]]:
        """The options of each provider by name, in order."""
        listed = self.execution_providers
        found: dict[str, dict[str, _Scalar]] = {}
        for entry in listed if isinstance(listed, tuple) else (listed,):
            for name, options in {entry: None}.items() if isinstance(entry, str) else entry.items():
                found[name] = options or {}
        return found


class ModelFiles(Struct, frozen=True):
    """One version of a model on disk; `config_path` is where its model.yaml is or would be."""

    name: str
    version: str
    path: Path
    config: ModelConfig = field(default_factory=ModelConfig)
    config_path: Path = Path(CONFIG_FILE)

    def digest(self) -> str:
        """Return `sha256:` and the hex digest of the model's files; '' when there are none."""
        return digest(self.path)

    @property
    def custom_op_libraries(self) -> tuple[Path, ...]:
        """The libraries of operators that model.yaml names by path."""
        names = self.config.custom_op_names
        return tuple(self.config_path.parent / name for name in names if not is_extensions(name))


class ModelSource(Struct, frozen=True):
    """Which model a worker serves: the highest version where `version` is empty.

    `custom` says that a predictor of the user's own loads it, which needs no graph.
    """

    repository: Path
    name: str
    version: str
    custom: bool

    def path(self) -> Path:
        """Return where the graph lies now; raise ModelLoadError when it is not there."""
        if self.custom:
            return self.repository / self.name / (self.version or "1") / MODEL_FILE
        return find_version(self.repository, self.name, self.version)[1]

    def find(self) -> ModelFiles:
        """Return the files as they are now; raise ModelLoadError when they are not there."""
        if self.custom:
            return model_folder(self.repository, self.name, self.version or "1")
        return find_model(self.repository, self.name, self.version)


def is_extensions(name: str) -> bool:
    """Tell whether a name in `custom_ops` is that of Microsoft's package of operators, rather than a path."""
    return name.replace("_", "-") == "onnxruntime-extensions"


def find_model(repository: Path, name: str, version: str = "") -> ModelFiles:
    """Find a model's given, or else its highest, version; raise ModelLoadError when it is not there."""
    chosen, path = find_version(repository, name, version)
    config = repository / name / CONFIG_FILE
    return ModelFiles(name, chosen, path, read_config(config), config)


def find_version(repository: Path, name: str, version: str = "") -> tuple[str, Path]:
    """Return a model's given, or else its highest, version and where its graph lies; raise ModelLoadError."""
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
    return chosen, path


def model_folder(repository: Path, name: str, version: str) -> ModelFiles:
    """Name the place of a model that a predictor of the user's own loads, whatever lies there."""
    folder = repository / name
    config = folder / CONFIG_FILE
    return ModelFiles(name, version, folder / version / MODEL_FILE, read_config(config), config)


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
        if "`graph_optimization`" in problem:
            problem += f" (one of {', '.join(typing.get_args(Optimization))})"
        raise ModelLoadError(f"{path}: {problem}; known fields are {known}") from error
