"""The Open Inference Protocol v2 as pure functions: requests to tensors, tensors to answers.

Both JSON and the binary tensor data extension: a JSON header, then the raw tensors one after another, with the header's
length in `Inference-Header-Content-Length`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import orjson

from inferqueue_core.datatypes import Datatype
from inferqueue_core.errors import InvalidInputError
from inferqueue_core.jobs import RanModel
from inferqueue_core.json_tensors import check_finite, check_shape, read_flat_tensor
from inferqueue_core.models import ModelInfo, TensorSpec
from inferqueue_core.tensors import Envelope, Tensor, tensor_bytes, tensor_from_bytes
from inferqueue_proxy.catalog import first_fit
from inferqueue_proxy.classification import top_classes
from inferqueue_proxy.json_texts import read_json_with_nan
from inferqueue_proxy.orders import check_rows
from inferqueue_proxy.results import tensor_json

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
)
_MAX_DIMENSION = 2**31 - 1
_UNSUPPORTED = ("shared_memory_", "sequence_")


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What an `infer` asks: the tensors and outputs for the worker, and how the answer is to look.

    `rows` is how many rows it has, where its model takes rows. `timeout_seconds` is how long the client waits, None
    where it did not say; `binary` names the outputs to send raw, and `top` those of which only the classes with the
    largest values are wanted, and how many of them.
    """

    envelope: Envelope
    rows: int = 1
    id: str | None = None
    timeout_seconds: float | None = None
    binary: frozenset[str] = frozenset()
    top: Mapping[str, int] = field(default_factory=dict)

    def without_tensors(self) -> "InferRequest":
        """Return what is left to know of it when its job is made."""
        return replace(self, envelope=Envelope((), self.envelope.outputs))


def decode_request(
    body: bytes, header_length: int | None, models: Sequence[ModelInfo]
) -> tuple[ModelInfo, InferRequest]:
    """Return the first of `models` that can take an infer request, and the request as it reads for that one.

    `header_length` is the Inference-Header-Content-Length: None when the body is all JSON, 0 when it is all tensor.
    Raises CatalogProblem when no model can take it, and InvalidInputError, naming the field, when it is not one.
    """
    if header_length == 0:
        return first_fit(models, _raw_request, body)
    if header_length is not None and header_length > len(body):
        raise InvalidInputError(
            "Inference-Header-Content-Length", f"it is {header_length}, but the whole body has {len(body)} bytes"
        )
    try:
        header = read_json_with_nan(body if header_length is None else body[:header_length])
    except ValueError as error:
        raise InvalidInputError("body", f"it {error}") from None
    if not isinstance(header, dict):
        raise InvalidInputError("body", 'it must be a JSON object with "inputs"')
    try:
        rest = memoryview(body)[len(body) if header_length is None else header_length :]
        return _read_request(header, rest, models)
    except (RecursionError, orjson.JSONEncodeError):
        raise InvalidInputError("inputs", "data is nested too deeply: more than 254 levels") from None


def _read_request(
    header: Mapping[str, Any], rest: memoryview, models: Sequence[ModelInfo]
) -> tuple[ModelInfo, InferRequest]:
    request_id = header.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInputError("id", "it must be a string")
    parameters = _parameters("parameters", header)
    all_binary = _flag("parameters.binary_data_output", parameters.get("binary_data_output", False))
    timeout = _timeout(parameters)
    model, (tensors, wanted) = first_fit(models, _read_tensors, header, rest, all_binary)
    envelope = Envelope(tensors, wanted.names)
    return model, InferRequest(envelope, _rows(tensors), request_id, timeout, frozenset(wanted.binary), wanted.top)


def _read_tensors(
    model: ModelInfo, header: Mapping[str, Any], rest: memoryview, all_binary: bool
) -> "tuple[tuple[Tensor, ...], _Wanted]":
    return _read_inputs(header, rest, model), _read_outputs(header, model, all_binary)


def _raw_request(model: ModelInfo, body: bytes) -> InferRequest:
    """Read a raw binary request: the body is the one input, and every output comes back raw."""
    if len(model.inputs) != 1:
        raise InvalidInputError("body", f"a raw request is for models with one input, this one has {len(model.inputs)}")
    (spec,) = model.inputs
    if spec.datatype is Datatype.BYTES:
        body = len(body).to_bytes(4, "little") + body
        shape = tuple(1 if size == -1 else size for size in spec.metadata_shape)
    else:
        shape = _raw_shape(len(body), spec, model)
    tensor = tensor_from_bytes("body", spec.name, spec.datatype, shape, memoryview(body))
    _check(f"input {spec.name!r}", (tensor,), model)
    binary = frozenset(output.name for output in model.outputs)
    return InferRequest(Envelope((tensor,), None), _rows((tensor,)), binary=binary)


def _rows(tensors: Sequence[Tensor]) -> int:
    return tensors[0].shape[0] if tensors and tensors[0].shape else 1


def _raw_shape(size: int, spec: TensorSpec, model: ModelInfo) -> tuple[int, ...]:
    shape = list(spec.metadata_shape)
    if model.batchable and shape.count(-1) > 1 and shape[0] == -1:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise InvalidInputError("body", f"input {spec.name!r} has shape {shape}: a raw request cannot say which it is")
    if -1 in shape:
        step = prod(length for length in shape if length != -1) * spec.datatype.dtype.itemsize
        shape[shape.index(-1)] = size // step if step else 0
    return tuple(shape)


def _read_inputs(header: Mapping[str, Any], rest: memoryview, model: ModelInfo) -> tuple[Tensor, ...]:
    entries = header.get("inputs")
    if not isinstance(entries, list) or (model.inputs and not entries):
        raise InvalidInputError("inputs", "it must be a list of the model's inputs")
    specs = {spec.name: spec for spec in model.inputs}
    found: dict[str, Tensor] = {}
    at = 0
    for index, entry in enumerate(entries):
        field = f"inputs[{index}]"
        name = _name(field, entry)
        if name not in specs:
            known = ", ".join(repr(spec) for spec in specs)
            raise InvalidInputError(f"{field}.name", f"the model has no input {name[:80]!r}; its inputs are {known}")
        if name in found:
            raise InvalidInputError(f"{field}.name", f"input {name!r} is given twice")
        size = _binary_size(field, entry)
        if size is not None and at + size > len(rest):
            raise InvalidInputError(
                f"{field}.parameters.binary_data_size", f"it is {size}, but only {len(rest) - at} bytes are left"
            )
        found[name] = _read_input(field, entry, specs[name], None if size is None else rest[at : at + size])
        at += size or 0
    if at != len(rest):
        raise InvalidInputError("body", f"{len(rest) - at} bytes follow the tensors that the header tells of")
    if len(found) < len(specs):
        missing = next(name for name in specs if name not in found)
        known = ", ".join(map(repr, specs))
        raise InvalidInputError("inputs", f"input {missing!r} is missing; the inputs are {known}")
    tensors = tuple(found[name] for name in specs)
    _check("inputs", tensors, model)
    return tensors


def _read_input(field: str, entry: Mapping[str, Any], spec: TensorSpec, raw: memoryview | None) -> Tensor:
    if entry.get("datatype") != spec.datatype:
        shown = str(entry.get("datatype"))[:40]
        raise InvalidInputError(f"{field}.datatype", f"input {spec.name!r} takes {spec.datatype}, not {shown}")
    told = entry.get("shape")
    if not isinstance(told, list) or not all(type(size) is int and 0 <= size <= _MAX_DIMENSION for size in told):
        raise InvalidInputError(f"{field}.shape", f"it must be a list of integers from 0 to {_MAX_DIMENSION}")
    shape = tuple(told)
    if len(spec.shape) <= 1 and shape == (*shape[: len(spec.shape)], 1):
        shape = shape[:-1]  # as the configuration writes a tensor of one value a row: see model_config
    check_shape(f"{field}.shape", shape, spec)
    if raw is not None:
        return tensor_from_bytes(f"{field}.data", spec.name, spec.datatype, shape, raw)
    if "data" not in entry:
        raise InvalidInputError(f"{field}.data", "this field is missing, and there is no parameter binary_data_size")
    return read_flat_tensor(f"{field}.data", entry["data"], spec, shape)


def _check(field: str, tensors: Sequence[Tensor], model: ModelInfo) -> None:
    check_rows(field, tensors, model)
    if model.finite:
        for tensor in tensors:
            check_finite(field, tensor)


@dataclass(slots=True)
class _Wanted:
    """The outputs that are asked for, None for all; those to send raw; those to classify."""

    names: tuple[str, ...] | None
    binary: set[str] = field(default_factory=set)
    top: dict[str, int] = field(default_factory=dict)


def _read_outputs(header: Mapping[str, Any], model: ModelInfo, all_binary: bool) -> _Wanted:
    entries = header.get("outputs")
    if entries is None or entries == []:
        return _Wanted(None, {spec.name for spec in model.outputs} if all_binary else set())
    if not isinstance(entries, list):
        raise InvalidInputError("outputs", "it must be a list of outputs")
    specs = {spec.name: spec for spec in model.outputs}
    wanted = _Wanted(())
    names: list[str] = []
    for index, entry in enumerate(entries):
        place = f"outputs[{index}]"
        name = _name(place, entry)
        if name not in specs:
            shown = ", ".join(map(repr, specs))
            raise InvalidInputError(f"{place}.name", f"the model has no output {name[:80]!r}; its outputs are {shown}")
        if name in names:
            raise InvalidInputError(f"{place}.name", f"output {name!r} is asked for twice")
        names.append(name)
        parameters = _parameters(f"{place}.parameters", entry)
        if _flag(f"{place}.parameters.binary_data", parameters.get("binary_data", all_binary)):
            wanted.binary.add(name)
        count = _class_count(f"{place}.parameters.classification", parameters, specs[name])
        if count:
            wanted.top[name] = count
    wanted.names = tuple(names)
    return wanted


def _class_count(place: str, parameters: Mapping[str, Any], spec: TensorSpec) -> int:
    """Give how many classes of an output are wanted, 0 for the output itself."""
    count = parameters.get("classification", 0)
    if type(count) is not int or count < 0:
        raise InvalidInputError(place, "it must be a number of classes, 0 or more")
    if count and not (spec.datatype.is_float or spec.datatype.is_integer):
        raise InvalidInputError(place, f"output {spec.name!r} holds {spec.datatype}, of which none is the largest")
    return count


def _name(field: str, entry: Any) -> str:
    if not isinstance(entry, dict):
        raise InvalidInputError(field, "it must be an object with a name")
    name = entry.get("name")
    if not isinstance(name, str):
        raise InvalidInputError(f"{field}.name", "it must be a string")
    return name


def _binary_size(field: str, entry: Mapping[str, Any]) -> int | None:
    size = _parameters(f"{field}.parameters", entry).get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise InvalidInputError(f"{field}.parameters.binary_data_size", "it must be a number of bytes, 0 or more")
    if "data" in entry:
        raise InvalidInputError(f"{field}.data", "the tensor is given twice: here, and by binary_data_size")
    return size


def _parameters(field: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidInputError(field, "it must be an object")
    for name, value in parameters.items():
        if not isinstance(value, (str, int, float, bool)):
            raise InvalidInputError(f"{field}.{name[:80]}", "it must be a string, a number or a boolean")
        if name.startswith(_UNSUPPORTED):
            raise InvalidInputError(f"{field}.{name[:80]}", "this parameter is not supported; leave it out")
    return parameters


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInputError(field, "it must be true or false")
    return value


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    microseconds = parameters.get("timeout")
    if microseconds is None:
        return None
    if type(microseconds) is not int or microseconds < 0:
        raise InvalidInputError("parameters.timeout", "it must be a whole number of microseconds, 0 or more")
    return microseconds / 1e6 if microseconds else None


@dataclass(frozen=True, slots=True)
class InferResponse:
    """The body of an answer, and the length of its JSON header when raw tensors follow it."""

    body: bytes
    header_length: int | None


def encode_response(request: InferRequest, envelope: Envelope, model: ModelInfo, ran: RanModel) -> InferResponse:
    """Write the outputs that a worker gave for `model`, as the request wants them, and which version `ran`."""
    entries: list[dict[str, Any]] = []
    raw: list[bytes] = []
    tensors: Iterable[Tensor] = _classified(request, envelope, model) if request.top else envelope.tensors
    for tensor in tensors:
        if tensor.name not in request.binary:
            entries.append(tensor_json(tensor))
            continue
        part = tensor_bytes(tensor)
        raw.append(part)
        entries.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": {"binary_data_size": len(part)},
            }
        )
    document: dict[str, Any] = {"model_name": ran.name, "model_version": ran.version}
    if request.id is not None:
        document["id"] = request.id
    header = orjson.dumps(document | {"outputs": entries})
    return InferResponse(b"".join((header, *raw)), len(header) if raw else None)


def _classified(request: InferRequest, envelope: Envelope, model: ModelInfo) -> Iterator[Tensor]:
    """Give the outputs, and in the place of those to classify their classes."""
    with_rows = {spec.name for spec in model.outputs if model.batchable and spec.shape[:1] == (-1,)}
    for tensor in envelope.tensors:
        count = request.top.get(tensor.name)
        if count is None:
            yield tensor
        else:
            yield top_classes(tensor, count, model.classes, by_row=tensor.name in with_rows)


def model_metadata(model: ModelInfo, versions: Sequence[ModelInfo]) -> dict[str, Any]:
    """Give the metadata of one version of a model as the protocol writes it, with the names of all its `versions`.

    An output tells whose the values along its last axis are, where that is known.
    """

    def shown(spec: TensorSpec) -> dict[str, Any]:
        return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.metadata_shape)}

    def shown_output(spec: TensorSpec) -> dict[str, Any]:
        classes = model.classes_of(spec)
        return shown(spec) | ({"classes": list(classes)} if classes else {})

    return {
        "name": model.name,
        "versions": [known.version for known in versions],
        "platform": model.platform,
        "inputs": [shown(spec) for spec in model.inputs],
        "outputs": [shown_output(spec) for spec in model.outputs],
    }
