"""Workers as processes, on models whose runs last as long as a test wants."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inferqueue_core.queue import RedisJobQueue
from support.onnx_models import doubling, filling, lasting, store, widening
from support.programs import Worker
from support.redis_servers import RedisServer

TESTS = Path(__file__).parents[2]

StartWorker = Callable[..., Worker]


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the models `double`, `filling`, `widening`, and `lasting`.

    `alone` is `lasting` with a run for each job, `endless` the same with a trial that does not end.
    """
    folder = tmp_path_factory.mktemp("repository")
    store(folder, doubling(), "double")
    store(folder, filling(), "filling")
    store(folder, widening(), "widening")
    store(folder, lasting(), "lasting")
    store(folder, lasting(), "endless", config="sample: {x: [1000000000000]}")
    store(folder, lasting(), "alone", config="batchable: false")
    return folder


@pytest.fixture
def prepare(repository: Path) -> Iterator[Callable[..., Worker]]:
    """Make a worker, not started yet, on the model `lasting` with one runner; it is killed after the test."""
    made: list[Worker] = []

    def make(redis: RedisServer, **settings: str) -> Worker:
        defaults = {"MODEL_REPOSITORY": str(repository), "MODEL_NAME": "lasting", "RUNNERS": "1"}
        worker = Worker(redis.url, **(defaults | {"PYTHONPATH": str(TESTS)} | settings))
        made.append(worker)
        return worker

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def start(prepare: Callable[..., Worker], redis_server: RedisServer) -> StartWorker:
    """Start a worker on the shared Redis and wait until it is ready."""

    def begin(**settings: str) -> Worker:
        return prepare(redis_server, **settings).start()

    return begin


@pytest.fixture
def all_ended(queue: RedisJobQueue) -> Callable[[list[str]], bool]:
    """Tell whether all of these jobs have ended."""

    def ended(ids: list[str]) -> bool:
        return all(job is not None and job.status.is_final for job in queue.jobs(ids))

    return ended
