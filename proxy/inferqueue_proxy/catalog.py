"""The models that workers have published: what this proxy validates against, and where it queues."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from inferqueue_core.errors import QueueError
from inferqueue_core.models import ModelInfo
from inferqueue_proxy.problems import Problem

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0


class Catalog:
    """Knows models by name; keeps what it knows while Redis is away. `read` gives all published models."""

    def __init__(self, read: Callable[[], Awaitable[dict[str, ModelInfo]]], default_queue: str) -> None:
        self._read = read
        self._default_queue = default_queue
        self._models: Mapping[str, ModelInfo] = {}
        self._default: ModelInfo | None = None
        self._read_at = -1.0
        self._lock = asyncio.Lock()

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        return self._models

    @property
    def default(self) -> ModelInfo | None:
        """The model whose queue is QUEUE_NAME; None until a worker has published it."""
        return self._default

    async def refresh(self) -> None:
        """Read the models again; raise QueueError when Redis does not answer."""
        read_at = time.monotonic()
        models = await self._read()
        self._read_at = read_at
        self._models = dict(sorted(models.items()))
        self._default = next((model for model in self._models.values() if model.queue == self._default_queue), None)

    async def run(self) -> None:
        """Keep what is known fresh, for ever."""
        while True:
            try:
                await self.refresh()
            except QueueError as error:
                log.debug("models not refreshed", extra={"error": str(error)})
            await asyncio.sleep(REFRESH_SECONDS)

    async def find(self, name: str, version: str | None = None) -> ModelInfo:
        """Give a model, asking Redis for one not known yet; raise a Problem when there is no such model or version."""
        model = self._models.get(name)
        if model is None:
            asked = time.monotonic()
            async with self._lock:  # whoever asks during one refresh shares the next
                if self._read_at < asked:
                    await self.refresh()
            model = self._models.get(name)
        if model is None:
            known = ", ".join(self._models) or "none"
            raise Problem("unknown-model", f"no worker has published a model {name[:80]!r}; known are: {known}")
        if version is not None and version != model.version:
            raise Problem("unknown-model", f"model {name!r} has no version {version[:40]!r}; it has {model.version!r}")
        return model
