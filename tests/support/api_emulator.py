"""An emulated Kubernetes API server: the few kinds that the operator touches, kept in memory.

It has what an operator can stumble over: resource versions, generations, uids, optimistic concurrency, `/status` and
`/scale`, watches that go on from a version, defaults of our CRD, and RBAC for the operator's own token. It validates
nothing: that is for the real server.
"""

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import yaml
from aiohttp import web

from support.manifests import CRD, rules_of

Body = dict[str, Any]
Kind = tuple[str, str]

KINDS: Mapping[Kind, str] = {
    ("api/v1", "pods"): "Pod",
    ("api/v1", "events"): "Event",
    ("api/v1", "secrets"): "Secret",
    ("api/v1", "namespaces"): "Namespace",
    ("apis/apps/v1", "deployments"): "Deployment",
    ("apis/autoscaling/v2", "horizontalpodautoscalers"): "HorizontalPodAutoscaler",
    ("apis/inferqueue.dev/v1alpha1", "inferencequeues"): "InferenceQueue",
    ("apis/rbac.authorization.k8s.io/v1", "roles"): "Role",
    ("apis/rbac.authorization.k8s.io/v1", "rolebindings"): "RoleBinding",
}
_ALL = ["get", "list", "watch", "create", "patch", "delete"]
_VERBS = {"GET": "get", "PATCH": "patch", "POST": "create", "DELETE": "delete"}


class ApiEmulator:
    """Serves on a free port of 127.0.0.1, in a thread of its own; `admin` and `operator` are its two tokens."""

    def __init__(self) -> None:
        self.url = ""
        self.certificate = ""
        self._objects: dict[tuple[Kind, str, str], Body] = {}
        self._history: list[tuple[int, Kind, str, Body]] = []
        self._asked: list[tuple[str, tuple[str, str, str]]] = []
        self._version = 0
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._started = threading.Event()
        self._schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def asked(self, namespace: str) -> list[tuple[str, str, str]]:
        """Give (group, resource, verb) of each request that the operator made in a namespace."""
        return [request for space, request in self._asked if space == namespace]

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    # ---- requests ----

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        discovered = self._discovery(request.path.strip("/"))
        if discovered is not None:
            return web.json_response(discovered)
        found = _parse(request.path.strip("/"))
        if found is None:
            return _refuse(404, "no such path")
        kind, namespace, name, part = found
        watching = request.query.get("watch") == "true"
        verb = "watch" if watching else "list" if request.method == "GET" and not name else _VERBS[request.method]
        if not self._may(request, kind, namespace, name, part, verb):
            return _refuse(403, f"operator may not {verb} {kind[1]}/{part} in {namespace}")
        if watching:
            return await self._watch(request, kind, namespace)
        body = await request.json() if request.can_read_body else None
        return self._carry_out(verb, kind, namespace, name, part, body, request)

    def _carry_out(
        self, verb: str, kind: Kind, namespace: str, name: str, part: str, body: Body | None, request: web.Request
    ) -> web.Response:
        if verb == "list":
            items = [deepcopy(item) for item in self._of(kind, namespace)]
            return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})
        if verb == "create":
            assert body is not None
            return self._create(kind, namespace, body)
        key = (kind, namespace, name)
        known = self._objects.get(key)
        if known is None:
            return _refuse(404, f'{kind[1]} "{name}" not found')
        if verb == "patch":
            assert body is not None
            return self._patch(key, known, part, body)
        if verb == "delete":
            return self._delete(key, known, request.query.get("gracePeriodSeconds"))
        return web.json_response(_scale(known) if part == "scale" else known)

    def _may(self, request: web.Request, kind: Kind, namespace: str, name: str, part: str, verb: str) -> bool:
        if request.headers.get("Authorization") != "Bearer operator":
            return True
        group = kind[0].split("/")[1] if kind[0].startswith("apis/") else ""
        resource = f"{kind[1]}/{part}" if part else kind[1]
        self._asked.append((namespace, (group, resource, verb)))
        roles = self._of(("apis/rbac.authorization.k8s.io/v1", "roles"), namespace)
        return any((group, resource, verb, name) in rules_of(role) for role in roles)

    def _discovery(self, path: str) -> Body | None:
        if path in ("api", "apis", "version"):
            prefixes = sorted({prefix for prefix, _ in KINDS if prefix.startswith("apis/")})
            versions = [prefix.split("/")[1:] for prefix in prefixes]
            groups = [
                {"name": group, "versions": [{"version": version}], "preferredVersion": {"version": version}}
                for group, version in versions
            ]
            return {"kind": "APIVersions", "versions": ["v1"], "groups": groups}
        resources = [plural for prefix, plural in KINDS if prefix == path]
        if not resources:
            return None
        listed = [
            {"name": plural, "kind": KINDS[(path, plural)], "singularName": "", "namespaced": True, "verbs": _ALL}
            for plural in resources
        ]
        return {"kind": "APIResourceList", "groupVersion": path.split("/", 1)[1], "resources": listed}

    # ---- state ----

    def _of(self, kind: Kind, namespace: str) -> Iterator[Body]:
        return (body for (known, space, _), body in self._objects.items() if known == kind and namespace in ("", space))

    def _create(self, kind: Kind, namespace: str, body: Body) -> web.Response:
        metadata = body.setdefault("metadata", {})
        if "name" not in metadata:
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:8]
        key = (kind, namespace, metadata["name"])
        if key in self._objects:
            return _refuse(409, f'{kind[1]} "{metadata["name"]}" already exists')
        metadata |= {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": _now()}
        if namespace:
            metadata["namespace"] = namespace
        body |= {"apiVersion": kind[0].split("/", 1)[1], "kind": KINDS[kind]}
        if KINDS[kind] == "InferenceQueue":
            _default(body, self._schema)
            body.pop("status", None)
        self._store("ADDED", key, body)
        return web.json_response(body, status=201)

    def _patch(self, key: tuple[Kind, str, str], known: Body, part: str, change: Body) -> web.Response:
        wanted = change.get("metadata", {})
        for name in ("uid", "resourceVersion"):
            if name in wanted and wanted[name] != known["metadata"][name]:
                return _refuse(409, f"{name} is {known['metadata'][name]}, not {wanted[name]}")
        if part == "status":
            change = {"status": change.get("status", {})}
        elif part == "scale":
            change = {"spec": {"replicas": change["spec"]["replicas"]}}
        else:
            change = {name: value for name, value in change.items() if name != "status"}
        new = _merge(known, change)
        if new != known:
            if new.get("spec") != known.get("spec"):
                new["metadata"]["generation"] += 1
            self._store("MODIFIED", key, new)
        return web.json_response(_scale(new) if part == "scale" else new)

    def _delete(self, key: tuple[Kind, str, str], known: Body, grace: str | None) -> web.Response:
        if key[0][1] == "pods" and grace != "0":
            self._store("MODIFIED", key, _merge(known, {"metadata": {"deletionTimestamp": _now()}}))
        else:
            del self._objects[key]
            self._note("DELETED", key, deepcopy(known))
        return web.json_response(known)

    def _store(self, event: str, key: tuple[Kind, str, str], body: Body) -> None:
        self._objects[key] = body
        self._note(event, key, body)

    def _note(self, event: str, key: tuple[Kind, str, str], body: Body) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, key[0], event, deepcopy(body)))
        self._changed.set()
        self._changed = asyncio.Event()

    async def _watch(self, request: web.Request, kind: Kind, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        while True:
            changed = self._changed
            for version, known, event, body in self._history[seen:]:
                if known == kind and namespace in ("", body["metadata"].get("namespace", "")):
                    await response.write(json.dumps({"type": event, "object": body}).encode() + b"\n")
                seen = version
            await changed.wait()


def _parse(path: str) -> tuple[Kind, str, str, str] | None:
    """Split a path into kind, namespace, name and subresource."""
    for prefix, plural in KINDS:
        if not path.startswith(f"{prefix}/"):
            continue
        parts = path.removeprefix(f"{prefix}/").split("/")
        namespace = ""
        if len(parts) > 2 and parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        if parts[0] == plural:
            name, part = ([*parts[1:], "", ""])[:2]
            return (prefix, plural), namespace, name, part
    return None


def _merge(old: Any, change: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(change, dict):
        return change
    merged = dict(old) if isinstance(old, dict) else {}
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return deepcopy(merged)


def _default(value: Any, schema: Mapping[str, Any]) -> None:
    """Fill in the defaults of a structural schema."""
    for name, part in schema.get("properties", {}).items():
        if "default" in part and name not in value:
            value[name] = deepcopy(part["default"])
        if isinstance(value.get(name), dict):
            _default(value[name], part)


def _scale(deployment: Body) -> Body:
    metadata = {name: deployment["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    return {"kind": "Scale", "metadata": metadata, "spec": {"replicas": deployment["spec"]["replicas"]}, "status": {}}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": status, "message": message}, status=status)
