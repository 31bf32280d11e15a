"""The objects of a kind, kept as the API server has them: one list, then its changes."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

from inferqueue_operator.api import KubernetesApi
from inferqueue_operator.errors import ApiError, ForbiddenError

logger = logging.getLogger(__name__)

Key = tuple[str, str]
_PAGE = "500"
_WATCH_SECONDS = 290.0
_LONGEST_PAUSE = 15.0
_BETWEEN_WATCHES = 0.1


class Watch:
    """Follows the objects at `path`; `changed(key, object)` hears of each new state, None when the object is gone.

    `synced` once all objects have been seen; `answered` also when they may not be seen, and `problem` says why.
    kopf's own indices are not used for this: they keep objects that vanished while a watch was interrupted.
    """

    def __init__(self, api: KubernetesApi, path: str, changed: Callable[[Key, Mapping[str, Any] | None], None]) -> None:
        self._api = api
        self._path = path
        self._changed = changed
        self._known: set[Key] = set()
        self.synced = asyncio.Event()
        self.answered = asyncio.Event()
        self.problem: ApiError = ApiError(f"GET {path}: not answered yet")

    async def run(self) -> None:
        """Follow for ever; whatever goes wrong is tried again."""
        failures = 0
        while True:
            try:
                version = await self._list()
                self.synced.set()
                self.answered.set()
                failures = 0
                await self._follow(version)
            except (ApiError, ValueError, KeyError) as error:
                failures += 1
                if isinstance(error, ForbiddenError):
                    self.problem = error
                    self.answered.set()
                if failures in (1, 10):
                    logger.warning("watch interrupted", extra={"path": self._path, "error": str(error)})
                await asyncio.sleep(min(_LONGEST_PAUSE, 0.25 * 2**failures) * random.uniform(0.5, 1))

    async def _list(self) -> str:
        """Read all objects, forget those that are no longer among them, and give the list's version."""
        seen: set[Key] = set()
        token = ""
        while True:
            parameters = {"limit": _PAGE} | ({"continue": token} if token else {})
            page = await self._api.get(self._path, **parameters)
            for item in page.get("items") or ():
                seen.add(self._take(item))
            version: str = page["metadata"]["resourceVersion"]
            token = page["metadata"].get("continue", "")
            if not token:
                break
        for key in self._known - seen:
            self._changed(key, None)
        self._known = seen
        return version

    async def _follow(self, version: str) -> None:
        """Take changes until the server no longer knows `version`."""
        while True:
            async for event in self._api.watch(self._path, _WATCH_SECONDS, resourceVersion=version):
                kind, item = event["type"], event["object"]
                if kind == "ERROR":
                    await asyncio.sleep(_BETWEEN_WATCHES)
                    return
                version = item["metadata"]["resourceVersion"]
                if kind == "DELETED":
                    key = _key(item)
                    self._known.discard(key)
                    self._changed(key, None)
                elif kind != "BOOKMARK":
                    self._known.add(self._take(item))
            await asyncio.sleep(_BETWEEN_WATCHES)

    def _take(self, item: Mapping[str, Any]) -> Key:
        key = _key(item)
        try:
            self._changed(key, item)
        except (KeyError, ValueError, TypeError, AttributeError):
            # One odd object must not hide all others.
            logger.exception("object not understood", extra={"path": self._path, "object": "/".join(key)})
        return key


def _key(item: Mapping[str, Any]) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]
