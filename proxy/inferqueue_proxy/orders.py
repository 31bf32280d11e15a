"""The body of `POST /predict`: parsed once into an order, then made a job that its model can take."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from inferqueue_core.errors import InvalidInputError
from inferqueue_core.jobs import JobTarget, NewJob
from inferqueue_core.json_tensors import read_inputs
from inferqueue_core.models import ModelInfo
from inferqueue_core.tensors import Tensor
from inferqueue_proxy.catalog import first_fit
from inferqueue_proxy.problems import FieldError, Problem, invalid

FIELDS = ("data", "model", "version", "deadline_seconds")
MIN_DEADLINE_SECONDS = 0.001
MAX_DEADLINE_SECONDS = 30 * 86_400
MAX_JOBS = 1000
"""Most jobs in one batch."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants predicted: `place` stands before field names in messages (`[3].` in a batch)."""

    data: Any
    model: str | None
    deadline_seconds: float
    place: str = ""
    version: str | None = None


def read_order(value: Any, place: str = "") -> Order:
    """Read a job body; raise a Problem naming the field that is missing, unknown or of the wrong type."""
    if not isinstance(value, dict):
        raise invalid(place.rstrip(".") or "body", 'it must be a JSON object such as {"data": [[5.1, 3.5, 1.4, 0.2]]}')
    for name in value:
        if name not in FIELDS:
            raise invalid(f"{place}{name[:80]}", f"this field is unknown; the fields are {', '.join(FIELDS)}")
    if "data" not in value:
        raise invalid(f"{place}data", 'this field is missing; send {"data": …}')
    model = value.get("model")
    if model is not None and not isinstance(model, str):
        raise invalid(f"{place}model", "it must be a string, the name of a model")
    version = value.get("version")
    if version is not None and not isinstance(version, str):
        raise invalid(f"{place}version", 'it must be a string, a version of the model such as "2"')
    return Order(value["data"], model, _read_deadline(value, place), place, version)


def _read_deadline(value: dict[str, Any], place: str) -> float:
    seconds = value.get("deadline_seconds")
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or math.isnan(seconds):
        raise invalid(f"{place}deadline_seconds", "it must be a number of seconds")
    if not MIN_DEADLINE_SECONDS <= seconds <= MAX_DEADLINE_SECONDS:
        raise invalid(
            f"{place}deadline_seconds",
            f"{seconds} is not a time to wait; send {MIN_DEADLINE_SECONDS} to {MAX_DEADLINE_SECONDS} seconds",
        )
    return float(seconds)


def make_job(job_id: str, order: Order, models: Sequence[ModelInfo]) -> tuple[ModelInfo | None, NewJob]:
    """Return the first of `models` that can take an order's data, and its job.

    Without models nothing is checked. Raises a Problem, CatalogProblem when none can take the data.
    """
    try:
        data = orjson.dumps(order.data)
    except orjson.JSONEncodeError:
        error = FieldError(f"{order.place}data", "it is nested too deeply: more than 254 levels")
        raise Problem("malformed-body", f"{error.field}: {error.message}", errors=[error]) from None
    model: ModelInfo | None = None
    if models:
        model, _ = first_fit(models, _check_data, order)
    return model, NewJob(job_id, data, order.deadline_seconds, target_of(model, order.version))


def _check_data(model: ModelInfo, order: Order) -> None:
    try:
        check_rows("data", read_inputs(order.data, model.inputs, finite=model.finite), model)
    except InvalidInputError as error:
        raise InvalidInputError(f"{order.place}{error.field}", str(error)) from None


def target_of(model: ModelInfo | None, asked_version: str | None) -> JobTarget:
    """Say for what a job is whose data was checked against `model`; a version that was asked for pins it."""
    if model is None:
        return JobTarget()
    pinned = asked_version is not None
    return JobTarget(model=model.name, version=model.version, signature=model.signature, pinned=pinned)


def check_rows(field: str, tensors: Sequence[Tensor], model: ModelInfo) -> None:
    """Raise InvalidInputError unless all inputs of a batchable model have the same number of rows, at least one."""
    if not model.batchable:
        return
    rows = [tensor.shape[0] for tensor in tensors]
    if 0 in rows:
        raise InvalidInputError(field, "there are 0 rows; send at least one")
    if len(set(rows)) > 1:
        counts = ", ".join(f"{tensor.name!r}: {tensor.shape[0]}" for tensor in tensors)
        raise InvalidInputError(field, f"the inputs differ in their number of rows ({counts}); send as many of each")
