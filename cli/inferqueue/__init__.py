"""The command line and Python client of inferqueue.

from inferqueue import Client

with Client("http://127.0.0.1:8000") as client:
    print(client.predict([[5.1, 3.5, 1.4, 0.2]]))
"""

from inferqueue.async_client import AsyncClient, AsyncJobHandle
from inferqueue.client import Client, JobHandle
from inferqueue.errors import (
    InferQueueError,
    InvalidInput,
    NotFound,
    QueueFull,
    Refused,
    Unauthorized,
    Unreachable,
    WaitTimeout,
)
from inferqueue.jobs import Job, JobCanceled, JobEnded, JobExpired, JobFailed, JobStatus

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "InferQueueError",
    "InvalidInput",
    "Job",
    "JobCanceled",
    "JobEnded",
    "JobExpired",
    "JobFailed",
    "JobHandle",
    "JobStatus",
    "NotFound",
    "QueueFull",
    "Refused",
    "Unauthorized",
    "Unreachable",
    "WaitTimeout",
]
