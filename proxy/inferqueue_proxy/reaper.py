"""The reaper's rounds: every proxy puts right what fell silent in every queue it knows; no leader is needed."""

import asyncio
import logging
import random

from inferqueue_core.errors import QueueError
from inferqueue_proxy.queues import Queues

log = logging.getLogger(__name__)


async def reap(queues: Queues, interval: float) -> None:
    """Reap every known queue about each `interval` seconds, for ever; outages are waited out."""
    while True:
        await asyncio.sleep(interval * (0.75 + random.random() / 2))
        for queue in queues.known():
            try:
                reaped = await queue.client.reap()
            except QueueError as error:
                log.debug("not reaped", extra={"queue": queue.name, "error": str(error)})
                break
            if reaped.put_back or reaped.buried or reaped.expired:
                log.info(
                    "reaped",
                    extra={
                        "queue": queue.name,
                        "put_back": reaped.put_back,
                        "buried": reaped.buried,
                        "expired": reaped.expired,
                    },
                )
