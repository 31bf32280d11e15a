"""Pods are created by the API server's clock, whatever ours shows."""

import asyncio
import time
from email.utils import formatdate

import kopf
import pytest
from aiohttp import web

from inferqueue_operator.api import KubernetesApi
from inferqueue_operator.cluster import Cluster


@pytest.mark.parametrize("ahead", [-3_600, 0, 3_600])
def test_ages_are_counted_on_the_clock_of_the_api_server(ahead: float) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"Date": formatdate(time.time() - ahead, usegmt=True)})

    async def run() -> float:
        app = web.Application()
        app.router.add_get("/api", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api = KubernetesApi(lambda: kopf.ConnectionInfo(server=f"http://127.0.0.1:{runner.addresses[0][1]}"))
        await api.open()
        await api.get("/api")
        seen = Cluster(api, ()).server_time(time.time())
        await api.close()
        await runner.cleanup()
        return time.time() - seen

    assert asyncio.run(run()) == pytest.approx(ahead, abs=3)
