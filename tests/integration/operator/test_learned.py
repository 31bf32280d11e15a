"""What was learned of an image is kept in Redis."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import redis.asyncio

from inferqueue_core.scaling import Memory
from inferqueue_core.scaling.estimates import cold_start
from inferqueue_operator.learned import LearnedRates
from support.redis_servers import RedisServer

KEY = "predict_queue:learned"
Use = Callable[[redis.asyncio.Redis], Awaitable[None]]


def with_client(server: RedisServer, use: Use) -> None:
    async def run() -> None:
        async with redis.asyncio.Redis.from_url(server.url, protocol=2) as client:
            await use(client)

    asyncio.run(run())


def test_a_successor_knows_what_was_learned(redis_server: RedisServer) -> None:
    async def use(client: redis.asyncio.Redis) -> None:
        first = LearnedRates(KEY)
        memory = await first.recall(client, "iris:1", Memory())
        assert memory == Memory()
        memory = Memory(service_rate=4.0, cold_starts=(8.0, 9.0), ready_once=True)
        assert first.is_due(memory, 100)
        await first.save(client, memory, 100)
        assert not first.is_due(replace(memory, service_rate=8.0), 105)
        assert not first.is_due(replace(memory, service_rate=4.01), 200)
        second = LearnedRates(KEY)
        assert await second.recall(client, "iris:1", Memory()) == memory
        assert second.heard

    with_client(redis_server, use)


def test_another_image_begins_with_what_the_last_one_did(redis_server: RedisServer) -> None:
    async def use(client: redis.asyncio.Redis) -> None:
        rates = LearnedRates(KEY)
        memory = Memory(service_rate=4.0, service_jobs=900.0, cold_starts=(8.0,), ready_once=True)
        begun = await rates.recall(client, "iris:2", memory)
        assert (begun.service_rate, begun.service_jobs, cold_start(begun)) == (4.0, None, 8.0)
        assert rates.is_current("iris:2")
        assert not begun.ready_once
        assert begun.cold_starts == ()


def test_an_image_is_known_only_when_a_worker_of_it_has_been_ready(redis_server: RedisServer) -> None:
    async def use(client: redis.asyncio.Redis) -> None:
        rates = LearnedRates(KEY)
        memory = await rates.recall(client, "iris:2", Memory(service_rate=4.0, cold_starts=(8.0,)))
        assert not rates.is_due(memory, 100)
        ready = replace(memory, ready_once=True)
        assert rates.is_due(ready, 100)
        await rates.save(client, ready, 100)
        assert (await LearnedRates(KEY).recall(client, "iris:2", Memory())).ready_once

    with_client(redis_server, use)


def test_what_cannot_be_read_was_not_learned(redis_server: RedisServer) -> None:
    async def use(client: redis.asyncio.Redis) -> None:
        entries = (
            "no JSON",
            '{"service_rate": "fast"}',
            '{"service_rate": 0, "cold_starts": []}',
            '{"service_rate": -1, "cold_starts": []}',
            '{"service_rate": NaN, "cold_starts": []}',
            '{"service_rate": null, "cold_starts": [-1]}',
            '{"service_rate": null, "cold_starts": [Infinity]}',
        )
        for number, entry in enumerate(entries):
            image = f"iris:{number}"
            await client.execute_command("HSET", KEY, image, entry)
            assert await LearnedRates(KEY).recall(client, image, Memory()) == Memory(ready_once=True)

    with_client(redis_server, use)


def test_only_the_newest_images_are_kept(redis_server: RedisServer) -> None:
    async def use(client: redis.asyncio.Redis) -> None:
        for number in range(25):
            rates = LearnedRates(KEY)
            await rates.recall(client, f"iris:{number}", Memory())
            await rates.save(client, Memory(service_rate=1.0), number)
        images = await client.execute_command("HKEYS", KEY)
        assert {image.decode() for image in images} == {f"iris:{number}" for number in range(5, 25)}

    with_client(redis_server, use)
