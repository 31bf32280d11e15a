"""A Kubernetes API server for tests: a real one with etcd where KUBEBUILDER_ASSETS names them, else an emulated one."""

import base64
import json
import os
import ssl
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from support.api_emulator import ApiEmulator
from support.manifests import CRD, ROLE
from support.ports import free_port
from support.waiting import wait_until

Body = dict[str, Any]
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["ResponseStarted", "ResponseComplete", "Panic"],
    "rules": [{"level": "Metadata", "users": ["operator"]}, {"level": "None"}],
}
_TYPES = {"PATCH": "application/merge-patch+json"}


class ApiRefusedError(Exception):
    """The API server refused a request: `status` and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Asked(NamedTuple):
    """A request of the operator's."""

    group: str
    resource: str
    verb: str


class ApiServer:
    """An API server seen by its administrator; `real` tells whether it validates.

    `audit` gives what the operator has asked for in a namespace.
    """

    def __init__(
        self, url: str, authority: str | None, audit: Callable[[str], list[tuple[str, str, str]]], *, real: bool
    ) -> None:
        self.url = url
        self.real = real
        self._audit = audit
        self._authority = authority
        tls = ssl.create_default_context(cadata=authority) if authority else False
        self._client = httpx.Client(base_url=url, headers={"Authorization": "Bearer admin"}, verify=tls, timeout=30)

    def close(self) -> None:
        self._client.close()

    def request(self, method: str, path: str, body: Body | None = None, **parameters: str) -> Body:
        """Send one request as the administrator; raises ApiRefusedError."""
        return self._send(method, path, body, _TYPES.get(method, "application/json"), parameters)

    def would_apply(self, path: str, body: Body) -> Body:
        """Give what would come of a server-side apply, in which every field must be known; raises ApiRefusedError."""
        parameters = {"fieldManager": "test", "dryRun": "All", "fieldValidation": "Strict"}
        return self._send("PATCH", path, body, "application/apply-patch+yaml", parameters)

    def _send(self, method: str, path: str, body: Body | None, type_: str, parameters: Mapping[str, str]) -> Body:
        content = None if body is None else json.dumps(body)
        response = self._client.request(
            method, path, content=content, headers={"Content-Type": type_}, params=parameters
        )
        if response.status_code >= 400:
            raise ApiRefusedError(response.status_code, response.json().get("message", response.text))
        answer: Body = response.json()
        return answer

    def asked(self, namespace: str) -> set[Asked]:
        """Give all that the operator has asked for in a namespace."""
        return {Asked(*request) for request in self._audit(namespace)}

    def lets_operator(self, **attributes: str) -> bool:
        """Tell whether the operator may do this: a path and verb, or a resource's group, verb and so on."""
        kind = "nonResourceAttributes" if "path" in attributes else "resourceAttributes"
        spec = {"user": "operator", "groups": ["system:authenticated"], kind: attributes}
        review = self.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
        return bool(review["status"]["allowed"])

    def table(self, path: str) -> Body:
        """Read a list as `kubectl get` does: columns and rows."""
        accept = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
        answer: Body = self._client.get(path, headers=accept).json()
        return answer

    def kubeconfig(self, folder: Path, user: str) -> Path:
        """Write a kubeconfig for one of the two users, admin and operator."""
        cluster: Body = {"server": self.url}
        if self._authority:
            cluster["certificate-authority-data"] = base64.b64encode(self._authority.encode()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": user}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path = folder / f"{user}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path


class Namespace:
    """A namespace of a test's own, in which the operator has its Role and nothing else."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.name = f"test-{uuid.uuid4().hex[:10]}"
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.name}})
        self.allow(yaml.safe_load(ROLE.read_text()))

    def allow(self, role: Body) -> None:
        """Give the operator a Role."""
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.name}"
        self.server.request("POST", f"{rbac}/roles", role)
        name = role["metadata"]["name"]
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "operator"}],
        }
        self.server.request("POST", f"{rbac}/rolebindings", binding)
        rule = role["rules"][-1]
        wanted = {"namespace": self.name, "group": rule["apiGroups"][0], "verb": rule["verbs"][0]}
        resource, _, part = rule["resources"][0].partition("/")
        wanted |= {"resource": resource, "subresource": part, "name": rule.get("resourceNames", [""])[0]}
        if self.server.real:
            wait_until(lambda: self.server.lets_operator(**wanted), what=f"role {name} counts")

    def _path(self, plural: str, name: str = "", part: str = "") -> str:
        group = {
            "deployments": "/apis/apps/v1",
            "inferencequeues": "/apis/inferqueue.dev/v1alpha1",
            "horizontalpodautoscalers": "/apis/autoscaling/v2",
        }.get(plural, "/api/v1")
        return "/".join(filter(None, (f"{group}/namespaces/{self.name}/{plural}", name, part)))

    def create(self, plural: str, body: Body) -> Body:
        return self.server.request("POST", self._path(plural), body)

    def get(self, plural: str, name: str) -> Body:
        return self.server.request("GET", self._path(plural, name))

    def all(self, plural: str) -> list[Body]:
        items: list[Body] = self.server.request("GET", self._path(plural))["items"]
        return items

    def table(self, plural: str) -> Body:
        return self.server.table(self._path(plural))

    def patch(self, plural: str, name: str, change: Body, part: str = "") -> Body:
        return self.server.request("PATCH", self._path(plural, name, part), change)

    def delete(self, plural: str, name: str, grace: int | None = None) -> None:
        parameters = {} if grace is None else {"gracePeriodSeconds": str(grace)}
        self.server.request("DELETE", self._path(plural, name), None, **parameters)

    def create_deployment(self, name: str = "worker", replicas: int = 0, image: str = "worker:1") -> Body:
        """Create a Deployment of workers."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "worker", "image": image}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        return self.create("deployments", {"metadata": {"name": name}, "spec": spec})

    def create_queue(
        self, name: str = "iris", *, target: str = "worker", queue: str = "predict_queue", **spec: Any
    ) -> Body:
        """Create an InferenceQueue."""
        whole = {"queue": {"name": queue}, "scaleTargetRef": {"name": target}} | spec
        metadata = {"apiVersion": "inferqueue.dev/v1alpha1", "kind": "InferenceQueue", "metadata": {"name": name}}
        return self.create("inferencequeues", metadata | {"spec": whole})

    def replicas(self, name: str = "worker") -> int:
        """Give what the Deployment is asked for."""
        return int(self.get("deployments", name)["spec"]["replicas"])

    def status(self, name: str = "iris") -> Body:
        status: Body = self.get("inferencequeues", name).get("status", {})
        return status

    def condition(self, kind: str, name: str = "iris") -> tuple[str, str]:
        """Give a condition's status and reason; empty before it is there."""
        for entry in self.status(name).get("conditions", ()):
            if entry["type"] == kind:
                return entry["status"], entry["reason"]
        return "", ""

    def reasons(self, name: str = "iris") -> list[str]:
        """Give the reasons of all Events about an InferenceQueue, oldest first."""
        found = [event for event in self.all("events") if event["involvedObject"]["name"] == name]
        return [event["reason"] for event in sorted(found, key=lambda event: int(event["metadata"]["resourceVersion"]))]


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Start an API server with our CRD."""
    with ExitStack() as stack:
        assets = os.environ.get("KUBEBUILDER_ASSETS")
        if assets:
            server = stack.enter_context(_real_server(Path(assets)))
            stack.callback(server.close)
            _install(server)
        else:
            emulator = stack.enter_context(ApiEmulator())
            server = ApiServer(emulator.url, None, emulator.asked, real=False)
            stack.callback(server.close)
        yield server


def _install(server: ApiServer) -> None:
    crd = yaml.safe_load(CRD.read_text())
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    server.request("POST", path, crd)

    def is_established() -> bool:
        status = server.request("GET", f"{path}/{crd['metadata']['name']}").get("status", {})
        conditions = status.get("conditions") or ()
        return any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)

    wait_until(is_established, what="the CRD is established")
    # An API server is ready before its own roles, which let everyone look around, count.
    wait_until(lambda: server.lets_operator(path="/apis", verb="get"), what="the operator may look around")


@contextmanager
def _real_server(assets: Path) -> Iterator[ApiServer]:
    """Run etcd and kube-apiserver on free ports; three attempts, for a port may be taken in between."""
    with tempfile.TemporaryDirectory(prefix="iq-api-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "tokens.csv").write_text('admin,admin,1,"system:masters"\noperator,operator,2\n')
        _write_key(folder / "key.pem")
        (folder / "audit.yaml").write_text(yaml.safe_dump(_AUDIT))
        for attempt in range(3):
            with ExitStack() as programs:
                server = _launch(assets, folder, attempt, programs)
                if server is not None:
                    stack.enter_context(programs.pop_all())
                    break
        else:
            raise AssertionError(f"kube-apiserver did not start:\n{(folder / 'api.log').read_text()[-3000:]}")
        yield server


def _launch(assets: Path, folder: Path, attempt: int, programs: ExitStack) -> ApiServer | None:
    client, peer, port = free_port(), free_port(), free_port()
    data, certificates = folder / f"etcd-{attempt}", folder / f"certificates-{attempt}"
    etcd = (
        *(assets / "etcd", "--unsafe-no-fsync", "--data-dir", data, "--log-level", "error"),
        *(
            "--listen-client-urls",
            f"http://127.0.0.1:{client}",
            "--advertise-client-urls",
            f"http://127.0.0.1:{client}",
        ),
        *(
            "--listen-peer-urls",
            f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls",
            f"http://127.0.0.1:{peer}",
        ),
        *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
    )
    api = (
        *(assets / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", f"--secure-port={port}"),
        *("--bind-address=127.0.0.1", f"--cert-dir={certificates}", "--service-cluster-ip-range=10.0.0.0/24"),
        *("--service-account-issuer=https://test", f"--service-account-key-file={folder / 'key.pem'}"),
        *(f"--service-account-signing-key-file={folder / 'key.pem'}", f"--token-auth-file={folder / 'tokens.csv'}"),
        *("--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"),
        *(f"--audit-policy-file={folder / 'audit.yaml'}", f"--audit-log-path={folder / f'audit-{attempt}.log'}"),
    )
    processes = [programs.enter_context(_process(etcd, folder / "etcd.log"))]
    processes.append(programs.enter_context(_process(api, folder / "api.log")))
    deadline = time.monotonic() + 60
    while all(process.poll() is None for process in processes) and time.monotonic() < deadline:
        certificate = certificates / "apiserver.crt"
        if certificate.exists() and certificate.read_text().strip():
            audit = partial(_audited, folder / f"audit-{attempt}.log")
            server = ApiServer(f"https://127.0.0.1:{port}", certificate.read_text(), audit, real=True)
            try:
                server.request("GET", "/api/v1/namespaces/default")
            except (httpx.TransportError, ApiRefusedError):
                server.close()
            else:
                return server
        time.sleep(0.05)
    return None


@contextmanager
def _process(command: tuple[object, ...], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _audited(log: Path, namespace: str) -> list[tuple[str, str, str]]:
    found = []
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        asked = entry.get("objectRef", {})
        if asked.get("namespace") == namespace:
            resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
            found.append((asked.get("apiGroup", ""), resource, entry["verb"]))
    return found


def _write_key(path: Path) -> None:
    subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], check=True, capture_output=True)
