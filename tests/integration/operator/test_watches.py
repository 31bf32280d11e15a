"""A watch that was interrupted catches up, and forgets what vanished in between."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kopf
import pytest

from inferqueue_operator.api import KubernetesApi, log_in
from inferqueue_operator.errors import ApiError, NotFoundError
from inferqueue_operator.watches import Key, Watch
from support.api_servers import Namespace
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

    asyncio.run(run())


def test_a_server_that_does_not_answer_is_an_api_error() -> None:
    async def run() -> None:
        api = KubernetesApi(lambda: kopf.ConnectionInfo(server="http://127.0.0.1:1"))
        await api.open()
        with pytest.raises(ApiError, match="does not answer"):
            await api.get("/api")
        await api.close()

    asyncio.run(run())


def test_without_credentials_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ApiError, match="set KUBECONFIG or run in a pod"):
        log_in()
