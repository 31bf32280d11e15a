"""The models that workers have published: what this proxy validates against, and where it queues."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from inferqueue_core.errors import InvalidInputError
from inferqueue_core.jobs import QueueObservation, WorkerState
from inferqueue_core.models import ModelInfo
from inferqueue_proxy.problems import CatalogProblem, FieldError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class _Workers:
    """Whose a queue is, and which `name/version` its workers serve: those that take jobs, and those that stop."""

    owner: str | None = None
    ready: frozenset[str] = frozenset()
    stopping: frozenset[str] = frozenset()


_NO_WORKERS = _Workers()


class Catalog:
    """Knows models by name and version, as `learn` was told last, and who serves them, as `note` was.

    A version is ready while a worker serves it that goes on to take jobs, as the last look at its queue says; the
    others are known all the same, and their jobs wait. `edition` counts the changes of all this.
    """

    def __init__(self, default_queue: str) -> None:
        self._default_queue = default_queue
        self._models: Mapping[str, ModelInfo] = {}
        self._workers: dict[str, _Workers] = {}
        self._candidates: Mapping[str, tuple[ModelInfo, ...]] = {}
        self._default: tuple[ModelInfo, ...] = ()
        self.edition = 0

    @property
    def models(self) -> Collection[ModelInfo]:
        """All versions of all models, by name, then from the lowest version to the highest."""
        return self._models.values()

    @property
    def default(self) -> ModelInfo | None:
        """The model that QUEUE_NAME belongs to; None until a worker has published it."""
        return self._default[0] if self._default else None

    def versions(self, name: str) -> list[ModelInfo]:
        """Return the known versions of a model, the highest last."""
        return [model for model in self._models.values() if model.name == name]

    def is_ready(self, model: ModelInfo) -> bool:
        """Whether a worker serves this version now."""
        return model.key in self._workers.get(model.queue, _NO_WORKERS).ready

    def learn(self, models: Mapping[str, ModelInfo]) -> None:
        """Take in all published models by `name/version`."""
        if models != self._models:
            order = sorted(models.values(), key=lambda model: (model.name, model.version_order))
            self._models = {model.key: model for model in order}
            self._choose()

    def note(self, queue_name: str, seen: QueueObservation) -> None:
        """Take in a look at a queue: whose it is, and what its workers serve."""
        workers = _Workers(
            seen.model,
            frozenset(_key(worker) for worker in seen.workers if _takes_jobs(worker)),
            frozenset(_key(worker) for worker in seen.workers if not _takes_jobs(worker)),
        )
        if self._workers.get(queue_name) != workers:
            self._workers[queue_name] = workers
            self._choose()

    def find(self, name: str, version: str | None = None) -> ModelInfo:
        """Return a version of a model, without one the highest that is ready, or else the highest that is known.

        Raises CatalogProblem when there is no such model or version.
        """
        return self.candidates(name, version)[0]

    def candidates(self, name: str, version: str | None = None) -> Sequence[ModelInfo]:
        """Return the versions that a request may be for: the one asked for, or those to be tried in turn, at least one.

        First come those that are ready, or else all that are known, as nothing tells which of them will be ready next;
        then those whose workers stop, which still run what no other version can take. Each go from the highest to the
        lowest. Raises CatalogProblem as `find` does.
        """
        if version is None:
            found = self._candidates.get(name)
            if found is not None:
                return found
        elif (model := self._models.get(f"{name}/{version}")) is not None:
            return (model,)
        if name not in self._candidates:
            known = ", ".join(self._candidates) or "none"
            raise CatalogProblem("unknown-model", f"no worker has published a model {name[:80]!r}; known are: {known}")
        versions = ", ".join(repr(model.version) for model in self.versions(name))
        detail = f"model {name!r} has no version {str(version)[:40]!r}; it has {versions}"
        raise CatalogProblem("unknown-model", detail)

    def ordered(self, name: str | None, version: str | None) -> Sequence[ModelInfo]:
        """Return the candidates of an order, without a name those of the default model: none until that is published.

        Raises CatalogProblem as `find` does.
        """
        if name is not None:
            return self.candidates(name, version)
        if version is None:
            return self._default
        if self.default is None:
            detail = f"no worker has published a model on queue {self._default_queue!r}, so it has no versions yet"
            raise CatalogProblem("unknown-model", f"{detail}; leave the version out, or start a worker")
        return self.candidates(self.default.name, version)

    def _choose(self) -> None:
        """Choose again what is meant without a version, and without a model."""
        self.edition += 1
        self._candidates = {name: self._ranked(self.versions(name)) for name in {m.name: None for m in self.models}}
        owner = self._workers.get(self._default_queue, _NO_WORKERS).owner
        own = [model for model in self.models if model.queue == self._default_queue and owner in (None, model.name)]
        self._default = self._ranked([model for model in own if model.name == own[0].name])

    def _ranked(self, versions: Sequence[ModelInfo]) -> tuple[ModelInfo, ...]:
        """Return the candidates among `versions`, of which the highest is the last."""
        highest_first = versions[::-1]
        ready = [model for model in highest_first if self.is_ready(model)]
        first = ready or highest_first
        stopping = [
            model
            for model in highest_first
            if model.key in self._workers.get(model.queue, _NO_WORKERS).stopping and model not in first
        ]
        return (*first, *stopping)


def _takes_jobs(worker: WorkerState) -> bool:
    return not (worker.retired or worker.report.stopping)


def _key(worker: WorkerState) -> str:
    return f"{worker.report.model}/{worker.report.version}"


def first_fit(models: Sequence[ModelInfo], read: Callable[[ModelInfo, *Ts], T], *arguments: *Ts) -> tuple[ModelInfo, T]:
    """Return the first of `models` that `read` can read its further arguments for, and what that returned.

    `read` raises InvalidInputError for what a model cannot take. Raises CatalogProblem, by what the first one cannot
    take, when all are like that.
    """
    refused: InvalidInputError | None = None
    for model in models:
        try:
            return model, read(model, *arguments)
        except InvalidInputError as error:
            refused = refused or error
    assert refused is not None, "there are no models"
    detail = f"{refused.field}: {refused}"
    raise CatalogProblem("invalid-input", detail, errors=[FieldError(refused.field, str(refused))])
