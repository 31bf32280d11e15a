"""One cluster and one release for all end-to-end tests, the figures they measure, and what is kept when one fails.

From the environment: CLUSTER names the cluster, KEEP leaves it there, NODE_IMAGE is its nodes' image, INGRESS_INSTALL a
command that installs an ingress controller into the cluster that it is given the name of. With FIGURES=report a figure
beyond its bound is shown and fails nothing.
"""

import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.clusters import Cluster, build_images
from support.commands import CommandFailedError, run
from support.diagnosis import collect
from support.figures import Figures
from support.gateways import Gateway, ModelQueue
from support.kubectl import Kubectl
from support.releases import CHART, Release
from support.waiting import wait_until
from support.watches import PodWatch, ReplicaWatch

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / ".e2e"
NAMESPACE = "inferqueue"
HOST = "inferqueue.test"
REDIS_IMAGE = "redis:8.0"
# Contour cuts at 15 s unless told otherwise.
PATIENT_SECONDS = 40

_figures = pytest.StashKey[Figures]()
_kubectl = pytest.StashKey[Kubectl]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_figures] = Figures(binding=os.environ.get("FIGURES") != "report")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[_figures].rows:
        terminalreporter.section("figures")
        for line in config.stash[_figures].lines():
            terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what the cluster looks like right after a failure."""
    report = yield
    if report.failed and _kubectl in item.config.stash:
        folder = REPORTS / re.sub(r"\W+", "-", item.name)
        _keep_evidence(item.config.stash[_kubectl], folder)
        report.sections.append(("cluster", f"logs, events and objects: {folder}"))
    return report


def _keep_evidence(kubectl: Kubectl, folder: Path) -> None:
    with suppress(CommandFailedError):  # there may be no cluster yet
        for namespace in kubectl.items("namespaces"):
            name = namespace["metadata"]["name"]
            if name.startswith((NAMESPACE, "projectcontour")):
                collect(kubectl.within(name), folder / name)


@contextmanager
def _indispensable(kubectl: Kubectl) -> Iterator[None]:
    """End the whole run when that fails without which no test can pass."""
    try:
        yield
    except Exception as error:
        _keep_evidence(kubectl, REPORTS / "setup")
        pytest.exit(f"{error}\nlogs, events and objects: {REPORTS / 'setup'}", returncode=1)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A cluster with our images and an ingress controller; the one of an earlier run, where that was kept."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    cluster = Cluster(os.environ.get("CLUSTER") or "inferqueue-e2e")
    pytestconfig.stash[_kubectl] = cluster.kubectl
    try:
        with _indispensable(cluster.kubectl):
            _prepare(cluster)
        yield cluster
    finally:
        if not os.environ.get("KEEP"):
            cluster.delete()


def _prepare(cluster: Cluster) -> None:
    images = build_images(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"])
    fresh = not cluster.exists()
    if fresh:
        cluster.create(os.environ.get("NODE_IMAGE", ""))
    if not run("docker", "images", "--quiet", REDIS_IMAGE):
        run("docker", "pull", REDIS_IMAGE, timeout=600)
    cluster.load(*images, REDIS_IMAGE)
    if fresh:
        cluster.install_ingress(os.environ.get("INGRESS_INSTALL", ""))
    else:
        _clear(cluster.kubectl)


def _clear(kubectl: Kubectl) -> None:
    """Remove what an earlier run has left."""
    kubectl.run("delete", "namespace", "--selector", "inferqueue.dev/test=e2e", "--timeout=120s", timeout=140)
    kubectl.run("uncordon", *(node["metadata"]["name"] for node in kubectl.items("nodes")))


@pytest.fixture(scope="session")
def make_namespace(cluster: Cluster) -> Callable[[str], Kubectl]:
    """Make a namespace that enforces the restricted Pod Security Standard and holds the tests' predictor."""

    def make(name: str) -> Kubectl:
        kubectl = cluster.kubectl.within(name)
        labels = {"inferqueue.dev/test": "e2e", "pod-security.kubernetes.io/enforce": "restricted"}
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        predictor = ROOT / "tests" / "support" / "timed_predictor.py"
        kubectl.run("create", "configmap", "predictor", f"--from-file={predictor}")
        return kubectl

    return make


@pytest.fixture(scope="session")
def values() -> dict[str, Any]:
    """The values of the release."""
    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "values.yaml").read_text())
    return found


@pytest.fixture(scope="session")
def installation(make_namespace: Callable[[str], Kubectl], values: dict[str, Any]) -> tuple[Release, float]:
    """The release, and the seconds that `helm install --wait` took."""
    release = Release(make_namespace(NAMESPACE), "inferqueue")
    with _indispensable(release.kubectl):
        seconds = release.install(values)
    return release, seconds


@pytest.fixture(scope="session")
def release(installation: tuple[Release, float]) -> Release:
    return installation[0]


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    return pytestconfig.stash[_figures]


@pytest.fixture(scope="session")
def gateway(cluster: Cluster, release: Release) -> Iterator[Gateway]:
    gateway = Gateway(cluster.port, HOST)
    gateway.await_answers()
    yield gateway
    gateway.close()


@pytest.fixture(scope="session")
def queues(gateway: Gateway, figures: Figures) -> dict[str, ModelQueue]:
    """The queue of each worker of the release, by its key."""
    return {key: ModelQueue(gateway, key, figures) for key in ("iris", "quick", "steady", "long")}


@pytest.fixture
def at_rest(release: Release, queues: dict[str, ModelQueue]) -> Callable[..., None]:
    """Return when these workers have nothing to do and are gone."""

    def wait(*keys: str) -> None:
        for key in keys:
            queues[key].await_rest()
            wait_until(lambda: release.replicas(key) == 0, 90, f"workers of {key!r} go", every=0.5)  # noqa: B023
            # Those on their way out, too: one that did not hear SIGTERM would stay for its whole grace period.
            selector = release.selector("worker", key)
            wait_until(lambda: not release.kubectl.items("pods", selector), 60, f"pods of {key!r} go", every=0.5)  # noqa: B023

    return wait


@pytest.fixture
def watch(release: Release) -> Iterator[Callable[[str], tuple[ReplicaWatch, PodWatch]]]:
    """Follow a worker's Deployment and its pods until the test ends."""
    with ExitStack() as stack:

        def start(key: str) -> tuple[ReplicaWatch, PodWatch]:
            replicas = stack.enter_context(ReplicaWatch(release.kubectl, release.worker(key)))
            pods = stack.enter_context(PodWatch(release.kubectl, release.selector("worker", key)))
            wait_until(lambda: replicas.moments, what=f"a first look at the Deployment of {key!r}")
            return replicas, pods

        yield start


@pytest.fixture(scope="session")
def patient_answer(gateway: Gateway) -> Iterator[Future[httpx.Response]]:
    """The answer to a request that waits for a job of 40 s, sent while other tests run."""
    body = {"model": "long", "data": [float(PATIENT_SECONDS)]}
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(gateway.http.post, "/predict", json=body, headers={"Prefer": "wait=60"})
