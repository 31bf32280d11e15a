"""The OpenAPI document: every route, every status with its media type, schema and headers."""

from typing import Any

from inferqueue_core.keys import JOB_ID_PATTERN
from inferqueue_proxy.auth import FREE_PATHS
from inferqueue_proxy.idempotency import HEADER_PATTERN, MAX_LENGTH
from inferqueue_proxy.problems import MEDIA_TYPE, TITLES
from inferqueue_proxy.schemas import SCHEMAS, ref

JSON = "application/json"
BINARY = "application/octet-stream"
Part = dict[str, Any]

_HEADER_LENGTH = "Inference-Header-Content-Length"
_TEXT: Part = {"schema": {"type": "string"}}
_NUMBER: Part = {"schema": {"type": "string", "pattern": "^[0-9]+$"}}


def _parameter(place: str, name: str, schema: Part, text: str) -> Part:
    return {"in": place, "name": name, "required": place == "path", "schema": schema, "description": text}


_PREFER = _parameter("header", "Prefer", {"type": "string"}, "`wait=N`: answer when the job ends or after N ≤ 60 s.")
_WAIT = _parameter("query", "wait", {"type": "number", "minimum": 0}, "The same as `Prefer: wait=N`.")
_IDEMPOTENCY = _parameter(
    "header",
    "Idempotency-Key",
    {"type": "string", "pattern": HEADER_PATTERN, "minLength": 1, "maxLength": MAX_LENGTH},
    "A repeated request with the same key makes no second job; keys are kept for a day.",
)
_JOB_ID = _parameter("path", "job_id", {"type": "string", "pattern": JOB_ID_PATTERN}, "As POST /predict gave it.")
_MODEL = _parameter("path", "model", {"type": "string"}, "Name of the model.")
_VERSION = _parameter("path", "version", {"type": "string"}, "Version of the model.")
_KIND = _parameter("path", "kind", {"enum": ["system", "cuda"]}, "Whose memory.")
_REGION = _parameter("path", "region", {"type": "string"}, "Name of the region.")
_IHCL = _parameter(
    "header",
    _HEADER_LENGTH,
    {"type": "integer", "minimum": 0},
    "Length of the JSON header when raw tensors follow it; 0 when the body is one raw tensor.",
)


def _answer(text: str, schema: str, *, media: str = JSON, headers: Part | None = None) -> Part:
    answer: Part = {"description": text, "content": {media: {"schema": ref(schema)}}}
    if headers:
        answer["headers"] = headers
    return answer


def _refusals(*kinds: str, protocol: bool = False) -> Part:
    """Describe what a route may be refused with, by kind of problem, as documents or in the protocol's form."""
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        status, title = TITLES[kind]
        by_status.setdefault(400 if protocol and status == 422 else status, []).append(title)
    answers: Part = {}
    for status, titles in by_status.items():
        headers: Part = {"Retry-After": _NUMBER} if status == 503 else {}
        if status == 401:
            headers = {"WWW-Authenticate": _TEXT}
        if status == 504:
            headers = {"Location": _TEXT}
        schema, media = ("Error", JSON) if protocol else ("Problem", MEDIA_TYPE)
        answers[str(status)] = _answer(". ".join(titles) + ".", schema, media=media, headers=headers)
    return answers


_REDIS = ("redis-unavailable", "redis-unsuitable")
_BODY = (
    *("malformed-body", "body-too-large", "unsupported-media-type", "request-timeout", "not-supported"),
    "too-many-bodies",
)
_SUBMIT = (*_BODY, "malformed-header", "unknown-model", "invalid-input", "idempotency-conflict", "queue-full", *_REDIS)

_ACCEPTED_HEADERS: Part = {"Retry-After": _NUMBER, "Idempotent-Replayed": _TEXT}
_JOB_HEADERS: Part = {"Location": _TEXT, "Vary": _TEXT, "Preference-Applied": _TEXT}


def _body(schema: str, *further: str, required: bool = True) -> Part:
    content: Part = {JSON: {"schema": ref(schema)}}
    content |= {media: {"schema": {"type": "string", "format": "binary"}} for media in further}
    return {"required": required, "content": content}


def _operation(name: str, text: str, responses: Part, *parameters: Part, body: Part | None = None) -> Part:
    operation: Part = {"operationId": name, "summary": text, "responses": responses}
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = body
    return operation


def _job_paths() -> Part:
    job = _answer("The job.", "Job", headers=_JOB_HEADERS)
    accepted = _answer("The job is in the queue.", "Accepted", headers=_ACCEPTED_HEADERS | _JOB_HEADERS)
    batch = _answer("All jobs are in the queue.", "AcceptedJobs", headers=_ACCEPTED_HEADERS)
    unknown = _refusals("unknown-job", *_REDIS)
    return {
        "/predict": {
            "post": _operation(
                "predict",
                "Post data, get a job id",
                {"200": job, "202": accepted, **_refusals(*_SUBMIT, "job-lost")},
                *(_PREFER, _IDEMPOTENCY),
                body=_body("NewJob"),
            )
        },
        "/predict/batch": {
            "post": _operation(
                "predict_batch",
                "Post up to 1,000 jobs at once, all accepted or none",
                {"202": batch, **_refusals(*_SUBMIT)},
                _IDEMPOTENCY,
                body=_body("NewJobs", "application/x-ndjson", "application/jsonl"),
            )
        },
        "/job/{job_id}": {
            "get": _operation(
                "read_job",
                "Read a job and its result",
                {"200": job, **_refusals("unknown-job", "job-lost", "invalid-input", *_REDIS)},
                *(_JOB_ID, _PREFER, _WAIT),
            ),
            "delete": _operation(
                "cancel_job",
                "Cancel a job",
                {
                    "200": _answer("It waited, and is canceled.", "Cancellation"),
                    "202": _answer("It runs, and is asked to stop.", "Cancellation", headers={"Location": _TEXT}),
                    **unknown,
                    **_refusals("job-ended"),
                },
                _JOB_ID,
            ),
        },
    }


def _status_paths() -> Part:
    redis = _refusals(*_REDIS)
    health = _answer("Yes.", "Health")
    return {
        "/queues": {"get": _operation("queues", "All queues", {"200": _answer("The queues.", "Queues"), **redis})},
        "/health": {"get": _operation("health", "Whether jobs can be taken", {"200": health, **redis})},
        "/livez": {"get": _operation("live", "Whether the process runs", {"200": health})},
        "/readyz": {"get": _operation("ready", "Whether Redis can hold the queues", {"200": health, **redis})},
    }


def _protocol_paths() -> Part:
    redis = _refusals(*_REDIS, protocol=True)
    unknown = _refusals("unknown-model", *_REDIS, protocol=True)
    failures = _refusals(
        *("unknown-model", *_BODY, "invalid-input", "job-failed", "job-lost", "queue-full", "not-finished", *_REDIS),
        protocol=True,
    )
    inferred = _answer(
        "The outputs.", "InferResponse", headers={_HEADER_LENGTH: _NUMBER, "Content-Encoding": _TEXT, "Vary": _TEXT}
    )
    inferred["content"][BINARY] = {"schema": {"type": "string", "format": "binary"}}
    paths: Part = {
        "/v2": {
            "get": _operation("server_metadata", "Server metadata", {"200": _answer("It is this.", "ServerMetadata")})
        },
        "/v2/health/live": {"get": _operation("server_live", "Server live", {"200": _answer("Yes.", "Live")})},
        "/v2/health/ready": {
            "get": _operation("server_ready", "Server ready", {"200": _answer("Yes", "Ready"), **redis})
        },
        "/v2/repository/index": {
            "post": _operation(
                "repository_index",
                "The known models",
                {
                    "200": _answer("The models.", "Index"),
                    **_refusals(*_BODY, protocol=True),
                },
                body=_body("IndexRequest", required=False),
            )
        },
    }
    for suffix, where in (("", (_MODEL,)), ("/versions/{version}", (_MODEL, _VERSION))):
        name = "_version" if suffix else ""
        base = "/v2/models/{model}" + suffix
        known = {"200": _answer("The model.", "ModelMetadata"), **unknown}
        ready = {"200": _answer("Requests for it are taken.", "Ready"), **unknown}
        paths[base] = {"get": _operation(f"metadata{name}", "Model metadata", known, *where)}
        paths[f"{base}/ready"] = {"get": _operation(f"model_ready{name}", "Model ready", ready, *where)}
        paths[f"{base}/infer"] = {
            "post": _operation(
                *(f"infer{name}", "Infer: submit a job and wait for it", {"200": inferred, **failures}),
                *(*where, _IHCL),
                body=_body("InferRequest", BINARY),
            )
        }
    return paths


def _triton_paths() -> Part:
    """Describe what Triton's tools ask beside the protocol."""
    unknown = _refusals("unknown-model", *_REDIS, protocol=True)
    refused = _refusals("not-supported", protocol=True)
    statistics = {"200": _answer("Counts and times of this proxy since its start.", "Statistics")}
    paths: Part = {
        "/v2/models/stats": {"get": _operation("statistics", "Statistics of all models", statistics)},
        "/v2/logging": _settings("logging", "What is logged"),
        "/v2/trace/setting": _settings("trace", "What is traced: nothing"),
        "/v2/models/{model}/trace/setting": _settings("model_trace", "What is traced: nothing", _MODEL),
    }
    for suffix, where in (("", (_MODEL,)), ("/versions/{version}", (_MODEL, _VERSION))):
        name = "_version" if suffix else ""
        base = "/v2/models/{model}" + suffix
        config = {"200": _answer("The configuration, as Triton writes it.", "ModelConfig"), **unknown}
        paths[f"{base}/config"] = {"get": _operation(f"config{name}", "Model configuration", config, *where)}
        paths[f"{base}/stats"] = {
            "get": _operation(f"model_statistics{name}", "Statistics of a model", statistics | unknown, *where)
        }
    for act in ("load", "unload"):
        path = f"/v2/repository/models/{{model}}/{act}"
        paths[path] = {"post": _operation(act, "Refused: workers load models", refused, _MODEL)}
    return paths | _shared_memory_paths()


def _settings(name: str, text: str, *where: Part) -> Part:
    shown = {"200": _answer("The settings.", "ServerSettings")}
    return {
        "get": _operation(name, text, shown, *where),
        "post": _operation(f"set_{name}", "Refused", _refusals("not-supported", protocol=True), *where),
    }


def _shared_memory_paths() -> Part:
    base, region = "/v2/{kind}sharedmemory", (_KIND, _REGION)
    none = {"200": _answer("None is registered.", "Regions"), **_refusals("not-found", protocol=True)}
    done = {"200": _answer("None is registered.", "Nothing"), **_refusals("not-found", protocol=True)}
    refused = _refusals("not-found", "not-supported", protocol=True)
    return {
        f"{base}/status": {"get": _operation("regions", "Shared memory", none, _KIND)},
        f"{base}/unregister": {"post": _operation("unregister_regions", "Unregister all", done, _KIND)},
        f"{base}/region/{{region}}/status": {"get": _operation("region", "Shared memory", none, *region)},
        f"{base}/region/{{region}}/register": {"post": _operation("register_region", "Refused", refused, *region)},
        f"{base}/region/{{region}}/unregister": {"post": _operation("unregister_region", "Unregister", done, *region)},
    }


def document(version: str, *, keys_required: bool) -> Part:
    """Make the OpenAPI document of this proxy."""
    paths = _job_paths() | _status_paths() | _protocol_paths() | _triton_paths()
    components: Part = {"schemas": SCHEMAS}
    whole: Part = {
        "openapi": "3.1.0",
        "info": {"title": "inferqueue", "version": version, "description": "Post data, get a job id, get the answer."},
        "paths": paths,
        "components": components,
    }
    if keys_required:
        _require_keys(paths, components)
    return whole


def _require_keys(paths: Part, components: Part) -> None:
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations in paths.items():
        if path not in FREE_PATHS:
            for operation in operations.values():
                operation["security"] = [{"bearer": []}, {"header": []}]
                operation["responses"] |= _refusals("unauthorized", protocol=path.startswith("/v2"))
