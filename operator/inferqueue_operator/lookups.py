"""An event loop whose look-ups of host names do not wait for each other."""

import asyncio
import contextlib
import socket
import threading
from typing import Any

Lookup = tuple[Any, ...]


class PatientLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, but that each host name is looked up in a thread of its own, once at a time.

    asyncio has few threads for all look-ups. Those of a few hosts whose name server does not answer keep all of them
    busy, for a thread cannot be interrupted, and every other queue would wait for its turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[Lookup, asyncio.Future[Any]] = {}

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Return what `socket.getaddrinfo` does; a look-up that is under way answers all who ask for the same."""
        lookup = (host, port, family, type, proto, flags)
        found = self._lookups.get(lookup)
        if found is None:
            found = self._lookups[lookup] = self.create_future()
            # A daemon: the end of the program waits for no name server.
            threading.Thread(target=self._look_up, args=(lookup, found), daemon=True).start()
        return await asyncio.shield(found)

    def _look_up(self, lookup: Lookup, found: asyncio.Future[Any]) -> None:
        addresses, problem = None, None
        try:
            addresses = socket.getaddrinfo(*lookup)
        except (OSError, UnicodeError) as error:
            problem = error

        def tell() -> None:
            del self._lookups[lookup]
            if problem is None:
                found.set_result(addresses)
            else:
                found.set_exception(problem)

        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            self.call_soon_threadsafe(tell)
