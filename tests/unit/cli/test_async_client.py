"""What the asynchronous client adds to the flows that both clients share."""

import asyncio
from typing import Any

import httpx

from inferqueue import AsyncClient
from inferqueue.transport import CONNECTIONS


class Busy(httpx.AsyncBaseTransport):
    """Answers after everybody had a turn, and notes the most requests at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return httpx.Response(200, json={"job_id": "j", "status": "completed", "result": 1})


def test_no_more_requests_than_connections_are_given_to_httpx() -> None:
    async def run() -> tuple[list[Any], int]:
        busy = Busy()
        async with AsyncClient() as client:
            await client._http.aclose()
            client._http = httpx.AsyncClient(transport=busy, base_url="http://proxy")
            return await asyncio.gather(*(client.predict(1) for _ in range(3 * CONNECTIONS))), busy.most

    results, most = asyncio.run(run())
    assert results == [1] * (3 * CONNECTIONS)
    assert most == CONNECTIONS
