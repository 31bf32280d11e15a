"""What has to be waited for before an event loop may end."""

import asyncio


async def connections_closed() -> None:
    """Return when this loop has no connection any more; raises TimeoutError after 10 s.

    A request that is cancelled leaves a TLS connection that still says goodbye, and no close of its client waits for
    it: the loop would end before, and the warning of an open socket would come in some later test.
    """
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while len(selector.get_map()) > 1:  # noqa: ASYNC110 (nothing tells; the one left is the loop's own pipe)
            await asyncio.sleep(0.01)
