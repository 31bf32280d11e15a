"""The JSON schemas of everything that goes in and out; `openapi.py` refers to them by name."""

from typing import Any

from inferqueue_core.datatypes import Datatype
from inferqueue_core.jobs import JobStatus
from inferqueue_core.keys import JOB_ID_PATTERN
from inferqueue_proxy.monitor import COUNTERS
from inferqueue_proxy.orders import MAX_DEADLINE_SECONDS, MAX_JOBS, MIN_DEADLINE_SECONDS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Refer to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, required: list[str] | None = None, **more: Any) -> Schema:
    wanted = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": wanted, **more}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _or_null(kind: str, **more: Any) -> Schema:
    return {"type": [kind, "null"], **more}


_STRING: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_TIME = _or_null("string", format="date-time", description="UTC")
_ID: Schema = {"type": "string", "pattern": JOB_ID_PATTERN}
_STATUS: Schema = {"type": "string", "enum": [status.value for status in JobStatus]}
_DATATYPE: Schema = {"type": "string", "enum": [datatype.value for datatype in Datatype]}
_SHAPE = _list({"type": "integer", "minimum": -1})
_PARAMETERS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}

SCHEMAS: dict[str, Schema] = {
    "NewJob": _object(
        {
            "data": {
                "description": "The input of the model as nested arrays, or an object of them by input name.",
                "examples": [[[5.1, 3.5, 1.4, 0.2]]],
            },
            "model": _or_null("string", description="Name of the model; the default one when left out."),
            "version": _or_null(
                "string",
                description="Version of the model; the highest that is ready when left out.",
            ),
            "deadline_seconds": _or_null(
                "number",
                minimum=MIN_DEADLINE_SECONDS,
                maximum=MAX_DEADLINE_SECONDS,
                description="The job expires unless a worker starts it within this time.",
            ),
        },
        ["data"],
        additionalProperties=False,
    ),
    "NewJobs": _list(ref("NewJob"), minItems=1, maxItems=MAX_JOBS),
    "Accepted": _object(
        {"job_id": _ID, "status": _STATUS, "queue_position": _COUNT | {"description": "Jobs that are before it."}},
        ["job_id", "status"],
    ),
    "AcceptedJobs": _object({"job_ids": _list(_ID)}),
    "Job": _object(
        {
            "job_id": _ID,
            "status": _STATUS,
            "result": {"description": "The prediction, or a list of them for several rows; null until completed."},
            "error": _or_null("string"),
            "created_at": _TIME,
            "started_at": _TIME,
            "completed_at": _TIME,
            "attempts": _COUNT,
            "model": {
                "oneOf": [ref("RanModel"), {"type": "null"}],
                "description": "What ran; null until the job has ended, or where its worker does not tell.",
            },
        }
    ),
    "RanModel": _object(
        {"name": _STRING, "version": _STRING, "digest": _STRING | {"description": "`sha256:…` of the model's file."}}
    ),
    "Cancellation": _object(
        {"job_id": _ID, "status": _STATUS, "cancel_requested": {"type": "boolean"}}, ["job_id", "status"]
    ),
    "Health": _object({"status": _STRING}),
    "Worker": _object(
        {
            "name": _STRING,
            "model": _STRING,
            "version": _STRING,
            "retired": {"type": "boolean"},
            "silent_seconds": _NUMBER,
            "in_flight": _COUNT,
            "jobs": _COUNT,
            "rows": _COUNT,
            "busy_seconds": _NUMBER,
        }
    ),
    "Decision": _object(
        {
            "desired_replicas": _COUNT | {"description": "Workers that the queue needs."},
            "replicas": _COUNT | {"description": "Workers that were asked for after the decision."},
            "reason": _STRING | {"description": "One word, such as Deadline or Idle."},
            "message": _STRING,
            "decided_at": {"type": "string", "format": "date-time", "description": "UTC"},
        }
    ),
    "Queue": _object(
        {
            "name": _STRING,
            "model": _or_null(
                "string", description="The model that the queue belongs to; null before its first worker."
            ),
            "models": _list(_STRING),
            "versions": _list(ref("ServedVersion")),
            "length": _COUNT,
            "in_flight": _COUNT,
            "delayed": _COUNT,
            "dead": _COUNT,
            "oldest_age_seconds": _or_null("number"),
            "submit_rate": _NUMBER | {"description": "Jobs per second over the last 10 s."},
            "finish_rate": _NUMBER | {"description": "Jobs per second over the last 10 s."},
            "counters": _object(dict.fromkeys(COUNTERS, _COUNT)),
            "workers": _list(ref("Worker")),
            "decision": {
                "oneOf": [ref("Decision"), {"type": "null"}],
                "description": "The last one of the operator; null when nobody has scaled for 90 s.",
            },
        }
    ),
    "ServedVersion": _object(
        {"model": _STRING, "version": _STRING, "ready": {"type": "boolean", "description": "A worker serves it now."}}
    ),
    "Queues": _object({"queues": _list(ref("Queue"))}),
    "Problem": _object(
        {
            "type": _STRING,
            "title": _STRING,
            "status": {"type": "integer"},
            "detail": _STRING,
            "instance": _STRING,
            "errors": _list(_object({"field": _STRING, "message": _STRING})),
            "job_id": _ID,
        },
        ["type", "title", "status", "detail", "instance"],
    ),
    "Error": _object({"error": _STRING, "job_id": _ID}, ["error"]),
    "ServerMetadata": _object({"name": _STRING, "version": _STRING, "extensions": _list(_STRING)}),
    "Live": _object({"live": {"type": "boolean"}}),
    "Ready": _object({"ready": {"type": "boolean"}, "name": _STRING}, ["ready"]),
    "TensorMetadata": _object({"name": _STRING, "datatype": _DATATYPE, "shape": _SHAPE}),
    "OutputMetadata": _object(
        {
            "name": _STRING,
            "datatype": _DATATYPE,
            "shape": _SHAPE,
            "classes": _list(_STRING) | {"description": "Whose the values along the last axis are, where it is known."},
        },
        ["name", "datatype", "shape"],
    ),
    "ModelMetadata": _object(
        {
            "name": _STRING,
            "versions": _list(_STRING),
            "platform": _STRING,
            "inputs": _list(ref("TensorMetadata")),
            "outputs": _list(ref("OutputMetadata")),
        }
    ),
    "ModelConfig": _object(
        {
            "name": _STRING,
            "platform": _STRING,
            "backend": _STRING,
            "max_batch_size": _COUNT | {"description": "0: shapes are whole. Otherwise they are without axis 0."},
            "input": _list(ref("TensorConfig")),
            "output": _list(ref("TensorConfig")),
        }
    ),
    "TensorConfig": _object({"name": _STRING, "data_type": _STRING, "dims": _SHAPE}),
    "Statistics": _object({"model_stats": _list(ref("ModelStatistics"))}),
    "ModelStatistics": _object(
        {
            "name": _STRING,
            "version": _STRING,
            "last_inference": _COUNT | {"description": "Milliseconds of Unix time; 0: none yet."},
            "inference_count": _COUNT | {"description": "Rows of the requests that succeeded."},
            "execution_count": _COUNT,
            "inference_stats": {"type": "object", "additionalProperties": _object({"count": _COUNT, "ns": _COUNT})},
        }
    ),
    "ServerSettings": {"type": "object", "description": "Settings in Triton's words."},
    "Regions": _list({}, maxItems=0),
    "Nothing": {"type": "object", "maxProperties": 0},
    "IndexRequest": _object({"ready": {"type": "boolean"}}, []),
    "Index": _list(_object({"name": _STRING, "version": _STRING, "state": _STRING, "reason": _STRING})),
    "InferRequest": _object(
        {
            "id": _STRING,
            "parameters": _PARAMETERS,
            "inputs": _list(
                _object(
                    {
                        "name": _STRING,
                        "shape": _list(_COUNT),
                        "datatype": _DATATYPE,
                        "parameters": _PARAMETERS,
                        "data": {"description": "Flat or nested, row-major."},
                    },
                    ["name", "shape", "datatype"],
                ),
                minItems=1,
            ),
            "outputs": _list(_object({"name": _STRING, "parameters": _PARAMETERS}, ["name"])),
        },
        ["inputs"],
    ),
    "InferResponse": _object(
        {
            "model_name": _STRING,
            "model_version": _STRING,
            "id": _STRING,
            "outputs": _list(
                _object(
                    {
                        "name": _STRING,
                        "shape": _list(_COUNT),
                        "datatype": _DATATYPE,
                        "parameters": _PARAMETERS,
                        "data": _list({}),
                    },
                    ["name", "shape", "datatype"],
                )
            ),
        },
        ["model_name", "model_version", "outputs"],
    ),
}
