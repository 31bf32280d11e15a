"""The models that workers have published: what this proxy validates against, and where it queues."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

from inferqueue_core.jobs import QueueObservation
from inferqueue_core.models import ModelInfo
from inferqueue_proxy.problems import Problem


class Catalog:
    """Knows models by name and version; keeps what it knows while Redis is away.

    `read` gives all published models by `name/version`. A version is ready while a worker serves it that goes on to
    take jobs, as the last look at its queue says; the others are known all the same, and their jobs wait.
    """

    def __init__(self, read: Callable[[], Awaitable[dict[str, ModelInfo]]], default_queue: str) -> None:
        self._read = read
        self._default_queue = default_queue
        self._models: Mapping[str, ModelInfo] = {}
        self._served: dict[str, frozenset[str]] = {}
        self._owners: dict[str, str | None] = {}
        self._preferred: Mapping[str, ModelInfo] = {}
        self._default: ModelInfo | None = None
        self._read_at = -1.0
        self._lock = asyncio.Lock()

    @property
    def models(self) -> Collection[ModelInfo]:
        """All versions of all models, by name, then from the lowest version to the highest."""
        return self._models.values()

    @property
    def default(self) -> ModelInfo | None:
        """The model that QUEUE_NAME belongs to; None until a worker has published it."""
        return self._default

    def versions(self, name: str) -> list[ModelInfo]:
        """Give the known versions of a model, the highest last."""
        return [model for model in self._models.values() if model.name == name]

    def is_ready(self, model: ModelInfo) -> bool:
        """Whether a worker serves this version now."""
        return model.key in self._served.get(model.queue, ())

    def note(self, queue_name: str, seen: QueueObservation) -> None:
        """Take in a look at a queue: whose it is, and what its workers serve."""
        served = frozenset(
            f"{worker.report.model}/{worker.report.version}"
            for worker in seen.workers
            if not (worker.retired or worker.report.stopping)
        )
        if self._served.get(queue_name) != served or self._owners.get(queue_name) != seen.model:
            self._served[queue_name], self._owners[queue_name] = served, seen.model
            self._choose()

    async def refresh(self) -> None:
        """Read the models again; raise QueueError when Redis does not answer."""
        read_at = time.monotonic()
        models = await self._read()
        self._read_at = read_at
        if models != self._models:
            order = sorted(models.values(), key=lambda model: (model.name, model.version_order))
            self._models = {model.key: model for model in order}
            self._choose()

    async def find(self, name: str, version: str | None = None) -> ModelInfo:
        """Give a version of a model, without one the highest that is ready, or else the highest that is known.

        Asks Redis for what is not known yet; raises a Problem when there is no such model or version.
        """
        model = self._known(name, version)
        if model is None:
            asked = time.monotonic()
            async with self._lock:  # whoever asks during one refresh shares the next
                if self._read_at < asked:
                    await self.refresh()
            model = self._known(name, version)
        if model is not None:
            return model
        if name not in self._preferred:
            known = ", ".join(self._preferred) or "none"
            raise Problem("unknown-model", f"no worker has published a model {name[:80]!r}; known are: {known}")
        versions = ", ".join(repr(model.version) for model in self.versions(name))
        raise Problem("unknown-model", f"model {name!r} has no version {str(version)[:40]!r}; it has {versions}")

    async def ordered(self, name: str | None, version: str | None) -> ModelInfo | None:
        """Give what an order is for, without a name the default model; None where that is not known yet.

        Raises a Problem as `find` does.
        """
        if name is not None:
            return await self.find(name, version)
        if version is None:
            return self._default
        if self._default is None:
            detail = f"no worker has published a model on queue {self._default_queue!r}, so it has no versions yet"
            raise Problem("unknown-model", f"{detail}; leave the version out, or start a worker")
        return await self.find(self._default.name, version)

    def _known(self, name: str, version: str | None) -> ModelInfo | None:
        return self._preferred.get(name) if version is None else self._models.get(f"{name}/{version}")

    def _choose(self) -> None:
        """Choose again what is meant without a version, and without a model."""
        self._preferred = {name: self._best(self.versions(name)) for name in {m.name: None for m in self.models}}
        owner = self._owners.get(self._default_queue)
        own = [model for model in self.models if model.queue == self._default_queue and owner in (None, model.name)]
        self._default = self._best([model for model in own if model.name == own[0].name]) if own else None

    def _best(self, versions: Collection[ModelInfo]) -> ModelInfo:
        return max(versions, key=lambda model: (self.is_ready(model), model.version_order))
