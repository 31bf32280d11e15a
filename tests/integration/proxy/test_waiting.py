"""Clients who wait for the ends of jobs share one connection to Redis, which is made again when it is lost."""

import asyncio
import logging

import pytest

from inferqueue_core.connection import connect_async
from inferqueue_core.jobs import Job
from inferqueue_core.queue_settings import RedisSettings
from inferqueue_proxy import waiting
from inferqueue_proxy.waiting import Waiting


def test_a_redis_that_falls_silent_is_an_outage_and_no_defect(
    redis_settings: RedisSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Without anything to say, Redis is heard of once in PING_SECONDS.
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", waiting.PING_SECONDS / 20)

    async def read(job_id: str) -> Job | None:
        raise AssertionError(f"nobody waits for {job_id}")

    def losses() -> int:
        return sum("the connection for job events is lost" in record.message for record in caplog.records)

    async def run() -> None:
        client = connect_async(redis_settings)
        task = asyncio.create_task(Waiting(client, read, "").run())
        async with asyncio.timeout(30):
            while losses() < 2 and not task.done():  # noqa: ASYNC110 (nothing but the log tells)
                await asyncio.sleep(0.01)
        assert not task.done(), task.exception()
        task.cancel()
        await client.aclose()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
