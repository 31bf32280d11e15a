"""The custom resource InferenceQueue as typed values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from inferqueue_core.keys import check_queue_name
from inferqueue_core.scaling import Objective
from inferqueue_operator.errors import SpecError

GROUP = "inferqueue.dev"
VERSION = "v1alpha1"
PLURAL = "inferencequeues"
KIND = "InferenceQueue"


# Names become parts of paths at the API server: one that holds `../` would lead into another namespace.
_object_name = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def _check_object_name(name: str) -> str:
    if not _object_name.fullmatch(name):
        raise ValueError(f"{name!r} is no object's name: take lower case letters, digits, '-' and '.'")
    return name


ObjectName = Annotated[str, AfterValidator(_check_object_name)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class SecretRef(_Part):
    """A key of a Secret in the resource's namespace, and perhaps one for the CA certificates of that server."""

    name: ObjectName
    key: str = "url"
    ca_key: str | None = None


class RedisRef(_Part):
    """Where the queue's Redis is: exactly one of both."""

    url: str | None = None
    secret_ref: SecretRef | None = None

    @model_validator(mode="after")
    def _check(self) -> "RedisRef":
        if (self.url is None) == (self.secret_ref is None):
            raise ValueError("redis takes exactly one of url and secretRef")
        return self


class QueueRef(_Part):
    name: Annotated[str, AfterValidator(check_queue_name)]
    redis: RedisRef | None = None


class TargetRef(_Part):
    """The Deployment that is scaled."""

    api_version: str = "apps/v1"
    kind: str = "Deployment"
    name: ObjectName

    @model_validator(mode="after")
    def _check(self) -> "TargetRef":
        if (self.api_version, self.kind) != ("apps/v1", "Deployment"):
            raise ValueError(f"scaleTargetRef is a {self.api_version} {self.kind}; only apps/v1 Deployments are scaled")
        return self


class ObjectiveSpec(_Part):
    max_wait_seconds: float | None = Field(None, gt=0)
    backlog_per_replica: float | None = Field(None, gt=0)


class FallbackSpec(_Part):
    after_seconds: float = Field(60, gt=0)
    replicas: int = Field(2, ge=0)


class Spec(_Part):
    """What the owner of a queue asks for."""

    queue: QueueRef
    scale_target_ref: TargetRef
    min_replicas: int = 0
    max_replicas: int = 20
    objective: ObjectiveSpec = ObjectiveSpec(max_wait_seconds=30, backlog_per_replica=None)
    fallback: FallbackSpec = FallbackSpec(after_seconds=60, replicas=2)
    suspend: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Spec":
        if not 0 <= self.min_replicas <= self.max_replicas:
            raise ValueError(
                f"minReplicas ({self.min_replicas}) must lie between 0 and maxReplicas ({self.max_replicas})"
            )
        if (self.objective.max_wait_seconds is None) == (self.objective.backlog_per_replica is None):
            raise ValueError("objective takes exactly one of maxWaitSeconds and backlogPerReplica")
        return self

    @property
    def law_objective(self) -> Objective:
        """The specification as the scaling law wants it."""
        return Objective(
            max_wait=self.objective.max_wait_seconds,
            backlog_per_replica=self.objective.backlog_per_replica,
            min_replicas=self.min_replicas,
            max_replicas=self.max_replicas,
            fallback_after=self.fallback.after_seconds,
            fallback_replicas=self.fallback.replicas,
            suspend=self.suspend,
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Which object it is; one of the same name that is made again is another."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class InferenceQueue:
    """One object: `status` is what was published last, `spec` is None when `problem` says why it cannot be followed."""

    identity: Identity
    generation: int
    spec: Spec | None
    problem: str
    status: Mapping[str, Any]


def parse(body: Mapping[str, Any]) -> InferenceQueue:
    """Read an object as the API server gives it; a specification that cannot be followed becomes `problem`."""
    metadata = body["metadata"]
    identity = Identity(metadata["namespace"], metadata["name"], metadata["uid"])
    spec, problem = None, ""
    try:
        spec = parse_spec(body.get("spec", {}))
    except SpecError as error:
        problem = str(error)
    return InferenceQueue(identity, metadata.get("generation", 0), spec, problem, dict(body.get("status", {})))


def parse_spec(values: Mapping[str, Any]) -> Spec:
    """Read a specification; raises SpecError with one sentence for each thing that is wrong."""
    try:
        return Spec.model_validate(dict(values))
    except ValidationError as error:
        raise SpecError("; ".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"spec.{where}: {message}" if where else f"spec: {message}"
