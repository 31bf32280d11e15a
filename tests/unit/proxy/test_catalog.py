"""Which version is meant, by what was published and who serves it."""

import asyncio

import pytest

from inferqueue_core.jobs import QueueObservation, WorkerReport, WorkerState
from inferqueue_core.models import ModelInfo
from inferqueue_proxy.catalog import Catalog
from inferqueue_proxy.problems import Problem


def published(*keys: str) -> dict[str, ModelInfo]:
    """Give entries of `name/version@queue`."""
    models = {}
    for key in keys:
        name, _, rest = key.partition("/")
        version, _, queue = rest.partition("@")
        models[f"{name}/{version}"] = ModelInfo(name=name, version=version, queue=queue, inputs=(), outputs=())
    return models


def seen(*workers: WorkerState, model: str | None = None) -> QueueObservation:
    return QueueObservation(0, 0, 0, 0, 0, workers=workers, model=model)


def worker(version: str, *, retired: bool = False, stopping: bool = False, model: str = "m") -> WorkerState:
    return WorkerState("w", 0, retired, WorkerReport(model=model, version=version, stopping=stopping))


def catalog(*keys: str) -> Catalog:
    async def read() -> dict[str, ModelInfo]:
        return published(*keys)

    made = Catalog(read, "q")
    asyncio.run(made.refresh())
    return made


def chosen(known: Catalog, name: str = "m", version: str | None = None) -> str:
    return asyncio.run(known.find(name, version)).key


def test_the_highest_version_that_is_ready_is_meant() -> None:
    known = catalog("m/9@q", "m/10@p", "m/2@q")
    assert chosen(known) == "m/10"
    known.note("q", seen(worker("2"), worker("9")))
    assert chosen(known) == "m/9"
    known.note("p", seen(worker("10")))
    assert chosen(known) == "m/10"
    for unready in (seen(worker("10", retired=True)), seen(worker("10", stopping=True)), seen(), seen(worker("9"))):
        known.note("p", unready)
        assert chosen(known) == "m/9"
    assert chosen(known, version="10") == "m/10"
    assert [model.version for model in known.versions("m")] == ["2", "9", "10"]


def test_the_default_model_is_the_one_that_the_queue_belongs_to() -> None:
    known = catalog("a/1@q", "b/1@q", "b/2@q", "c/1@p")
    assert known.default is not None
    assert known.default.key == "a/1"
    known.note("q", seen(worker("1", model="b"), model="b"))
    assert known.default.key == "b/1"
    known.note("q", seen(model="b"))
    assert known.default.key == "b/2"


def test_what_is_unknown_is_named_beside_what_is_known() -> None:
    known = catalog("m/1@q", "m/2@q")
    for name, version, part in (("n", None, "known are: m"), ("m", "3", "it has '1', '2'"), ("n", "1", "known are: m")):
        with pytest.raises(Problem, match=part):
            chosen(known, name, version)


def test_an_order_without_a_model_may_name_a_version_of_the_default_one() -> None:
    known = catalog("m/1@q", "m/2@q")
    found = asyncio.run(known.ordered(None, "1"))
    assert found is not None
    assert found.key == "m/1"
    assert asyncio.run(catalog().ordered(None, None)) is None
    with pytest.raises(Problem, match="no worker has published"):
        asyncio.run(catalog().ordered(None, "1"))
