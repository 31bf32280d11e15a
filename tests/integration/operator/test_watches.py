"""A watch that was interrupted catches up, and forgets what vanished in between."""

import asyncio
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web

from inferqueue_operator.api import KubernetesApi, log_in
from inferqueue_operator.errors import ApiError, NotFoundError
from inferqueue_operator.watches import Key, Watch
from support.api_servers import Namespace
from support.loops import connections_closed
from support.waiting import wait_until


@pytest.fixture(autouse=True)
def _credentials(namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(namespace.server.kubeconfig(tmp_path, "operator")))


def test_objects_that_vanish_while_nobody_watches_are_forgotten(namespace: Namespace) -> None:
    async def run() -> None:
        api, seen = KubernetesApi(), dict[Key, Mapping[str, Any]]()

        def changed(key: Key, body: Mapping[str, Any] | None) -> None:
            if body is None:
                del seen[key]
            else:
                seen[key] = body

        await api.open()
        watch = Watch(api, f"/apis/apps/v1/namespaces/{namespace.name}/deployments", changed)
        namespace.create_deployment("first")
        task = asyncio.create_task(watch.run())
        await _until(lambda: seen.keys() == {(namespace.name, "first")})
        namespace.create_deployment("second")
        await _until(lambda: (namespace.name, "second") in seen)
        task.cancel()
        await asyncio.wait([task])
        namespace.delete("deployments", "first")
        task = asyncio.create_task(watch.run())
        await _until(lambda: seen.keys() == {(namespace.name, "second")})
        namespace.delete("deployments", "second")
        await _until(lambda: not seen)
        task.cancel()
        await asyncio.wait([task])
        await api.close()
        await connections_closed()

    asyncio.run(run())


async def _until(predicate: Any) -> None:
    await asyncio.to_thread(wait_until, predicate)


def test_errors_have_their_kind(namespace: Namespace) -> None:
    async def run() -> None:
        api = KubernetesApi()
        await api.open()
        with pytest.raises(NotFoundError, match="404"):
            await api.get(f"/apis/apps/v1/namespaces/{namespace.name}/deployments/none/scale")
        await api.close()
        await connections_closed()

    asyncio.run(run())


def test_a_server_that_does_not_answer_is_an_api_error() -> None:
    async def run() -> None:
        api = KubernetesApi(lambda: kopf.ConnectionInfo(server="http://127.0.0.1:1"))
        await api.open()
        with pytest.raises(ApiError, match="does not answer"):
            await api.get("/api")
        await api.close()

    asyncio.run(run())


def test_expired_credentials_are_renewed_once_for_all_requests() -> None:
    tokens: list[str] = []
    requests = itertools.count()
    renewed = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if next(requests) == 0:
            await renewed.wait()
        fresh = request.headers["Authorization"] == "Bearer token-1"
        if fresh:
            renewed.set()
        return web.json_response({"fresh": fresh}, status=200 if fresh else 401)

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/api", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

        def log_in() -> kopf.ConnectionInfo:
            tokens.append(f"token-{len(tokens)}")
            return kopf.ConnectionInfo(server=f"http://127.0.0.1:{runner.addresses[0][1]}", token=tokens[-1])

        api = KubernetesApi(log_in)
        await api.open()
        answers = await asyncio.gather(*(api.get("/api") for _ in range(30)))
        assert answers == [{"fresh": True}] * 30
        assert tokens == ["token-0", "token-1"]
        await api.close()
        await runner.cleanup()

    asyncio.run(run())


def test_without_credentials_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ApiError, match="set KUBECONFIG or run in a pod"):
        log_in()
