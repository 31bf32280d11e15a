"""What Helm makes of a release over time, on a real API server: upgrades, rollbacks, a second release, a new start."""

import base64
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from support.api_servers import ApiRefusedError, ApiServer
from support.charts import OPERATOR, RELEASE, Object, RefusedError, helm, helm_program

WORKER = "queues-inferqueue-worker-iris"
SECRET = "queues-inferqueue-redis"


class Namespace:
    """A namespace of a test's own, in which releases come and go."""

    def __init__(self, server: ApiServer, kubeconfig: Path, program: str) -> None:
        self.server = server
        self.name = f"test-{uuid4().hex[:10]}"
        self._cluster = (f"--kubeconfig={kubeconfig}", f"--namespace={self.name}")
        self._program = program
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.name}})

    def helm(self, *arguments: str, values: Object | None = None) -> str:
        stdin = () if values is None else ("--values=-",)
        given = "" if values is None else yaml.safe_dump(values)
        return helm(*arguments, *self._cluster, *stdin, program=self._program, stdin=given)

    def install(self, release: str = "queues", chart: Path = RELEASE, **values: Any) -> str:
        return self.helm("install", release, str(chart), values=values)

    def upgrade(self, **values: Any) -> str:
        return self.helm("upgrade", "queues", str(RELEASE), values=values)

    def path(self, group: str, plural: str, name: str = "", part: str = "") -> str:
        return "/".join(filter(None, (group, "namespaces", self.name, plural, name, part)))

    def deployment(self) -> Object:
        return self.server.request("GET", self.path("/apis/apps/v1", "deployments", WORKER))

    def scale(self, replicas: int) -> None:
        """Scale the workers as the operator does."""
        place = self.path("/apis/apps/v1", "deployments", WORKER, "scale")
        self.server.request("PATCH", place, {"spec": {"replicas": replicas}}, fieldManager="operator")

    def queue(self) -> Object:
        return self.server.request("GET", self.path("/apis/inferqueue.dev/v1alpha1", "inferencequeues", WORKER))

    def suspend(self) -> None:
        place = self.path("/apis/inferqueue.dev/v1alpha1", "inferencequeues", WORKER)
        self.server.request("PATCH", place, {"spec": {"suspend": True}}, fieldManager="kubectl-patch")

    def password(self) -> str:
        secret = self.server.request("GET", self.path("/api/v1", "secrets", SECRET))
        return base64.b64decode(secret["data"]["password"]).decode()

    def change_password(self, password: str) -> None:
        data = {"password": password, "url": f"redis://:{password}@{SECRET}.{self.name}.svc:6379/0"}
        place = self.path("/api/v1", "secrets", SECRET)
        self.server.request("PATCH", place, {"stringData": data}, fieldManager="kubectl-patch")


@pytest.fixture(params=["", "HELM3"], ids=["helm", "helm-3"])
def namespace(request: pytest.FixtureRequest, server: ApiServer, tmp_path: Path) -> Namespace:
    return Namespace(server, server.kubeconfig(tmp_path, "admin"), helm_program(request.param))


def test_neither_an_upgrade_nor_a_rollback_touches_the_replicas(namespace: Namespace) -> None:
    namespace.install()
    namespace.scale(7)
    namespace.upgrade(workerDefaults={"env": {"INTRA_OP_THREADS": 2}})
    assert namespace.deployment()["spec"]["replicas"] == 7
    namespace.helm("rollback", "queues", "1")
    names = [env["name"] for env in namespace.deployment()["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert "INTRA_OP_THREADS" not in names
    assert namespace.deployment()["spec"]["replicas"] == 7


def test_a_password_that_was_changed_outlives_upgrade_rollback_and_removal(namespace: Namespace) -> None:
    namespace.install()
    first = namespace.password()
    namespace.upgrade()
    assert namespace.password() == first
    namespace.change_password("changed")
    namespace.upgrade(proxy={"replicas": 3})
    assert namespace.password() == "changed"
    namespace.helm("rollback", "queues", "1")
    assert namespace.password() == "changed"
    namespace.helm("uninstall", "queues")
    namespace.install()
    assert namespace.password() == "changed"


def test_a_queue_that_was_suspended_by_hand_stays_so(namespace: Namespace) -> None:
    namespace.install()
    namespace.suspend()
    namespace.upgrade(proxy={"replicas": 3})
    assert namespace.queue()["spec"]["suspend"] is True


def test_values_suspend_a_queue_and_let_it_go(namespace: Namespace) -> None:
    namespace.install(workers={"iris": {"suspend": True}})
    assert namespace.queue()["spec"]["suspend"] is True
    namespace.upgrade(workers={"iris": {"suspend": False}})
    assert namespace.queue()["spec"]["suspend"] is False


def test_the_secret_alone_outlives_the_release(namespace: Namespace) -> None:
    namespace.install()
    namespace.helm("uninstall", "queues")
    namespace.server.request("GET", namespace.path("/api/v1", "secrets", SECRET))
    with pytest.raises(ApiRefusedError, match="not found"):
        namespace.deployment()


def test_a_second_operator_in_a_namespace_is_refused(namespace: Namespace) -> None:
    namespace.install()
    reason = f"{namespace.name} has an operator already, that of release queues, and two would .* each other: "
    way_out = "set operator.enabled to false and operatorAccess.serviceAccount.name to queues-inferqueue-operator"
    with pytest.raises(RefusedError, match=reason + way_out):
        namespace.install("second")
    with pytest.raises(RefusedError, match=reason + "install none beside it"):
        namespace.install("second", OPERATOR)
    account = {"serviceAccount": {"name": "queues-inferqueue-operator"}}
    namespace.install("second", operator={"enabled": False}, operatorAccess=account)
    namespace.upgrade()


def test_an_operator_in_a_namespace_that_another_one_serves_is_refused(
    namespace: Namespace, server: ApiServer, tmp_path: Path
) -> None:
    platform = Namespace(server, server.kubeconfig(tmp_path, "admin"), helm_program())
    served = {"watchNamespaces": [platform.name, namespace.name]}
    platform.install(operator=served)
    platform.upgrade(operator=served)
    reason = f"{namespace.name} has an operator already, that of release queues in namespace {platform.name}, and two"
    way_out = f"set operator.enabled to false, operatorAccess.serviceAccount.namespace to {platform.name} and operator"
    with pytest.raises(RefusedError, match=f"{reason} would .* each other: {way_out}"):
        namespace.install()
    account = {"name": "queues-inferqueue-operator", "namespace": platform.name}
    namespace.install(operator={"enabled": False}, operatorAccess={"serviceAccount": account})
    namespace.upgrade()


def test_a_secret_without_one_of_its_keys_is_refused(namespace: Namespace) -> None:
    secret = {"metadata": {"name": "vault"}, "stringData": {"password": "x"}}
    namespace.server.request("POST", namespace.path("/api/v1", "secrets"), secret)
    with pytest.raises(RefusedError, match=r"redis.auth.existingSecret: Secret vault has no key 'url'"):
        namespace.install(redis={"auth": {"existingSecret": "vault"}})


def test_releases_of_one_name_in_two_namespaces_share_nothing(server: ApiServer, tmp_path: Path) -> None:
    values = {"rbac": {"aggregateClusterRoles": True}}
    for _ in range(2):
        Namespace(server, server.kubeconfig(tmp_path, "admin"), helm_program()).install(operator=values)
