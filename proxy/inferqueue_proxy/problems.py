"""What requests are refused with: RFC 9457 problem documents, and `{"error": …}` in the Open Inference Protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response

from inferqueue_core.errors import InvalidInputError

MEDIA_TYPE = "application/problem+json"

TITLES = {
    "malformed-request": (400, "The request cannot be read"),
    "malformed-body": (400, "The body cannot be read"),
    "malformed-header": (400, "A header cannot be read"),
    "not-supported": (400, "This is not done here"),
    "unauthorized": (401, "An API key is needed"),
    "not-found": (404, "Nothing is here"),
    "unknown-job": (404, "The job is unknown"),
    "unknown-model": (404, "The model is unknown"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "request-timeout": (408, "The request has not come in time"),
    "job-lost": (410, "The job is gone"),
    "job-ended": (409, "The job has ended"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The content type is not supported"),
    "invalid-input": (422, "The request does not fit"),
    "idempotency-conflict": (422, "The Idempotency-Key was used for another request"),
    "head-too-large": (431, "The header is too large"),
    "internal-error": (500, "The proxy failed"),
    "job-failed": (500, "The job failed"),
    "too-many-connections": (503, "Too many clients are connected"),
    "too-many-bodies": (503, "Too many bodies are being read"),
    "queue-full": (503, "The queue is full"),
    "redis-unavailable": (503, "Redis does not answer"),
    "redis-full": (503, "Redis is full"),
    "redis-unsuitable": (503, "Redis cannot hold a queue"),
    "not-finished": (504, "The job has not ended in time"),
}
"""Kind of problem -> HTTP status and title; the kind is the end of the problem's `type`."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request, and the field it is in."""

    field: str
    message: str


class Problem(Exception):
    """A refusal: `kind` is one of TITLES, `detail` names the thing, the value and the way out."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = TITLES[kind]
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.job_id = job_id


class CatalogProblem(Problem):
    """A refusal by what the catalog says of models, which may have changed since it was read."""


def invalid(field: str, message: str) -> Problem:
    """Return the problem of one field that does not fit."""
    return Problem("invalid-input", f"{field}: {message}", errors=[FieldError(field, message)])


def from_invalid_input(error: InvalidInputError) -> Problem:
    """Return the problem of a field that cannot be read."""
    return invalid(error.field, str(error))


def respond(request: Request, problem: Problem) -> Response:
    """Answer with a problem in the form that the route's protocol has for it."""
    if request.url.path.startswith("/v2"):
        return _protocol_error(problem)
    return Response(problem_document(problem, request.url.path), problem.status, problem.headers, MEDIA_TYPE)


def problem_document(problem: Problem, instance: str | None = None) -> bytes:
    """Write a problem as RFC 9457 wants it; `instance` is the path that was asked for, where that could be read."""
    document: dict[str, object] = {
        "type": f"urn:inferqueue:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
    }
    if instance is not None:
        document["instance"] = instance
    if problem.errors:
        document["errors"] = [{"field": error.field, "message": error.message} for error in problem.errors]
    if problem.job_id is not None:
        document["job_id"] = problem.job_id
    return orjson.dumps(document)


def _protocol_error(problem: Problem) -> Response:
    status = 400 if problem.status == 422 else problem.status
    document = {"error": problem.detail}
    if problem.job_id is not None:
        document["job_id"] = problem.job_id
    return Response(orjson.dumps(document), status, problem.headers, "application/json")
