"""Which version is meant, by what was published and who serves it."""

import pytest

from inferqueue_core.errors import InvalidInputError
from inferqueue_core.jobs import QueueObservation, WorkerReport, WorkerState
from inferqueue_core.models import ModelInfo
from inferqueue_proxy.catalog import Catalog, first_fit
from inferqueue_proxy.problems import CatalogProblem, FieldError


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
    made = Catalog("q")
    made.learn(published(*keys))
    return made


def candidates(known: Catalog, version: str | None = None) -> list[str]:
    return [model.version for model in known.candidates("m", version)]


def test_the_highest_version_that_is_ready_is_meant() -> None:
    known = catalog("m/9@q", "m/10@p", "m/2@q")
    assert known.find("m").version == "10"
    known.note("q", seen(worker("2"), worker("9")))
    assert known.find("m").version == "9"
    known.note("p", seen(worker("10")))
    assert known.find("m").version == "10"
    for unready in (seen(worker("10", retired=True)), seen(worker("10", stopping=True)), seen(), seen(worker("9"))):
        known.note("p", unready)
        assert known.find("m").version == "9"
    assert known.find("m", "10").version == "10"
    assert [model.version for model in known.versions("m")] == ["2", "9", "10"]


def test_candidates_are_the_versions_that_are_ready_and_then_those_whose_workers_stop() -> None:
    known = catalog("m/9@q", "m/10@p", "m/2@q", "m/3@q", "m/4@q", "m/5@q")
    known.note("q", seen(worker("2"), worker("9"), worker("3", stopping=True), worker("4", retired=True)))
    assert candidates(known) == ["9", "2", "4", "3"]
    known.note("q", seen(worker("2"), worker("9"), worker("2", stopping=True)))
    assert candidates(known) == ["9", "2"]
    assert candidates(known, "3") == ["3"]


def test_while_none_is_ready_candidates_are_all_versions_that_are_known() -> None:
    """After a rollback the worker of the lower version may be still to come."""
    known = catalog("m/9@q", "m/10@p", "m/2@q")
    assert candidates(known) == ["10", "9", "2"]
    known.note("q", seen(worker("2", stopping=True)))
    known.note("p", seen(worker("10", retired=True)))
    assert candidates(known) == ["10", "9", "2"]


def test_an_edition_lasts_until_something_changes() -> None:
    known = catalog("m/1@q")
    editions = [known.edition]
    known.learn(published("m/1@q"))
    assert known.edition == editions[0]
    for news in (seen(worker("1")), seen(worker("1", stopping=True)), seen(), seen(model="m")):
        known.note("q", news)
        editions.append(known.edition)
        known.note("q", news)
        assert known.edition == editions[-1]
    known.learn(published("m/1@q", "m/2@q"))
    assert len({*editions, known.edition}) == 6


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
        with pytest.raises(CatalogProblem, match=part):
            known.find(name, version)


def test_an_order_without_a_model_is_for_the_default_one() -> None:
    known = catalog("m/1@q", "m/2@q", "m/3@p", "n/1@p")
    known.note("q", seen(worker("1"), worker("2")))
    known.note("p", seen(worker("3")))
    assert [model.key for model in known.ordered(None, None)] == ["m/2", "m/1"]
    assert [model.key for model in known.ordered(None, "1")] == ["m/1"]
    assert [model.key for model in known.ordered("n", None)] == ["n/1"]


def test_without_a_default_model_an_order_may_name_no_version() -> None:
    assert not catalog().ordered(None, None)
    with pytest.raises(CatalogProblem, match="no worker has published"):
        catalog().ordered(None, "1")


def test_the_first_model_that_data_fits_takes_it() -> None:
    models = [*published("m/3@q", "m/2@q", "m/1@q").values()]

    def read(model: ModelInfo, data: str) -> str:
        if model.version == "3":
            raise InvalidInputError("data", "it is too short for 3")
        return f"{data} for {model.version}"

    assert first_fit(models, read, "a row") == (models[1], "a row for 2")


def test_what_fits_no_model_is_refused_by_the_first_one() -> None:
    def refuse(model: ModelInfo) -> None:
        raise InvalidInputError("data", f"it is too short for {model.version}")

    with pytest.raises(CatalogProblem) as refused:
        first_fit([*published("m/2@q", "m/1@q").values()], refuse)
    assert (refused.value.status, refused.value.detail) == (422, "data: it is too short for 2")
    assert refused.value.errors == (FieldError("data", "it is too short for 2"),)
