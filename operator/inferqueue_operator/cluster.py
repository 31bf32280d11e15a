"""The cluster as the operator sees it, and the few things that it changes there."""

import asyncio
import itertools
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from inferqueue_operator.api import KubernetesApi
from inferqueue_operator.errors import ApiError, ConflictError
from inferqueue_operator.events import Event
from inferqueue_operator.resource import GROUP, KIND, PLURAL, VERSION, Identity, InferenceQueue, parse
from inferqueue_operator.watches import Key, Watch
from inferqueue_operator.workloads import CHEAP, DELETION_COST, Pod, Target, parse_pod, parse_target

logger = logging.getLogger(__name__)

_SCALE_ATTEMPTS = 3
Label = tuple[str, str, str]


class Cluster:
    """Deployments, their pods and HorizontalPodAutoscalers of the served namespaces (none: of all)."""

    def __init__(self, api: KubernetesApi, namespaces: Sequence[str]) -> None:
        self._api = api
        self._targets: dict[Key, Target] = {}
        self._scaled: dict[Key, tuple[int, int]] = {}
        self._pods: dict[Key, Pod] = {}
        self._by_label: defaultdict[Label, dict[Key, Pod]] = defaultdict(dict)
        self._autoscalers: dict[Key, Key] = {}
        self._autoscaled: dict[Key, str] = {}
        kinds = (
            ("/apis/apps/v1", "/deployments", self._take_target),
            ("/api/v1", "/pods", self._take_pod),
            ("/apis/autoscaling/v2", "/horizontalpodautoscalers", self._take_autoscaler),
        )
        self._watches = {
            name: [
                Watch(api, prefix + (f"/namespaces/{quote(name)}" if name else "") + plural, changed)
                for prefix, plural, changed in kinds
            ]
            for name in namespaces or ("",)
        }

    async def follow(self) -> None:
        """Follow all changes for ever."""
        async with asyncio.TaskGroup() as group:
            for watch in itertools.chain(*self._watches.values()):
                group.create_task(watch.run())

    async def answered(self) -> None:
        """Return once everything has been seen, but for namespaces that may not be."""
        for watch in itertools.chain(*self._watches.values()):
            await watch.answered.wait()

    def check_seen(self, namespace: str) -> None:
        """Raise ApiError while something of a namespace has never been seen: decisions would be blind."""
        for watch in self._watches.get(namespace) or self._watches[""]:
            if not watch.synced.is_set():
                raise watch.problem

    def server_time(self, now: float) -> float:
        """Return what the API server's clock, by which pods are created, shows at `now` of this one."""
        return now - self._api.clock_ahead

    # ---- what there is ----

    def target(self, namespace: str, name: str) -> Target | None:
        """Return a Deployment; as we scaled it, while the watch has not yet told of that."""
        target = self._targets.get((namespace, name))
        scaled = self._scaled.get((namespace, name))
        if target is None or scaled is None:
            return target
        version, replicas = scaled
        if target.version >= version:
            del self._scaled[(namespace, name)]
            return target
        return replace(target, replicas=replicas, settled=False)

    def pods(self, target: Target) -> list[Pod]:
        """Return the pods of a Deployment that have not ended."""
        required = target.selector.required
        if required is None:
            found = [pod for pod in self._pods.values() if pod.namespace == target.namespace]
        else:
            found = list(self._by_label.get((target.namespace, *required), {}).values())
        return [pod for pod in found if target.selector.matches(pod.labels)]

    def autoscaler(self, namespace: str, name: str) -> str | None:
        """Name a HorizontalPodAutoscaler that scales this Deployment."""
        return self._autoscaled.get((namespace, name))

    def _take_target(self, key: Key, body: Mapping[str, Any] | None) -> None:
        if body is None:
            self._targets.pop(key, None)
        else:
            self._targets[key] = parse_target(body)

    def _take_pod(self, key: Key, body: Mapping[str, Any] | None) -> None:
        old = self._pods.pop(key, None)
        for label, value in old.labels.items() if old is not None else ():
            label_key = (key[0], label, value)
            bucket = self._by_label[label_key]
            bucket.pop(key, None)
            if not bucket:
                del self._by_label[label_key]
        pod = None if body is None else parse_pod(body)
        if pod is not None:
            self._pods[key] = pod
            for label, value in pod.labels.items():
                self._by_label[(pod.namespace, label, value)][key] = pod

    def _take_autoscaler(self, key: Key, body: Mapping[str, Any] | None) -> None:
        self._autoscalers.pop(key, None)
        if body is not None and body["spec"]["scaleTargetRef"]["kind"] == "Deployment":
            self._autoscalers[key] = (key[0], body["spec"]["scaleTargetRef"]["name"])
        self._autoscaled = {target: name for (_, name), target in self._autoscalers.items()}

    # ---- what is changed ----

    async def scale(self, target: Target, replicas: int) -> None:
        """Set the Deployment's replicas; raises ConflictError when they are no longer `target.replicas`."""
        path = f"/apis/apps/v1/namespaces/{quote(target.namespace)}/deployments/{quote(target.name)}/scale"
        for attempt in range(_SCALE_ATTEMPTS):
            scale = await self._api.get(path)
            current = scale["spec"].get("replicas", 0)
            if current != target.replicas:
                raise ConflictError(f"{target.name} has {current} replicas by now, not {target.replicas}")
            version = scale["metadata"]["resourceVersion"]
            try:
                answer = await self._api.patch(
                    path, {"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}}
                )
            except ConflictError:
                # Its status changes often; only a change of its replicas concerns us.
                if attempt == _SCALE_ATTEMPTS - 1:
                    raise
            else:
                self._scaled[(target.namespace, target.name)] = (int(answer["metadata"]["resourceVersion"]), replicas)
                return

    async def mark(self, pod: Pod, *, cheap: bool) -> None:
        """Make a pod the first to be deleted when its Deployment scales in, or take that back."""
        path = f"/api/v1/namespaces/{quote(pod.namespace)}/pods/{quote(pod.name)}"
        cost = CHEAP if cheap else None
        await self._api.patch(path, {"metadata": {"uid": pod.uid, "annotations": {DELETION_COST: cost}}})

    async def publish(self, identity: Identity, status: Mapping[str, Any]) -> None:
        """Write the status of an InferenceQueue; raises NotFoundError when it is gone."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{quote(identity.namespace)}/{PLURAL}/{quote(identity.name)}/status"
        await self._api.patch(path, {"metadata": {"uid": identity.uid}, "status": status})

    async def record(self, identity: Identity, event: Event) -> None:
        """Write an Event about an InferenceQueue; one that cannot be written is only logged."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {
            "metadata": {"generateName": f"{identity.name[:200]}.", "namespace": identity.namespace},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "namespace": identity.namespace,
                "name": identity.name,
                "uid": identity.uid,
            },
            "type": event.kind,
            "reason": event.reason,
            "message": event.message[:1024],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": "inferqueue-operator"},
            "reportingComponent": "inferqueue-operator",
        }
        try:
            await self._api.create(f"/api/v1/namespaces/{quote(identity.namespace)}/events", body)
        except ApiError as error:
            logger.warning("event not recorded", extra={"reason": event.reason, "error": str(error)})

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        """Read a Secret's data, still in base64."""
        body = await self._api.get(f"/api/v1/namespaces/{quote(namespace)}/secrets/{quote(name)}")
        data: dict[str, str] = body.get("data") or {}
        return data

    async def queues(self, namespace: str) -> list[InferenceQueue]:
        """Return all InferenceQueues that there are in a namespace."""
        body = await self._api.get(f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace)}/{PLURAL}")
        return [parse(item) for item in body["items"]]
