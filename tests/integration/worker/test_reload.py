"""A model's files change under a worker with load: every answer is that of the old or the new ones, and none fails."""

import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from inferqueue_core.jobs import JobStatus
from inferqueue_core.queue import RedisJobQueue
from support import external_models as models
from support.jobs import submit_jobs
from support.onnx_models import store, unary
from support.programs import HastyWorker, Worker
from support.waiting import wait_until

Start = Callable[..., Worker]
OLD, NEW = 1.0, 2.0


class Load:
    """Jobs that are submitted while something is waited for, each of which must be answered."""

    def __init__(self, queue: RedisJobQueue) -> None:
        self._queue = queue
        self._ids: list[str] = []

    def until(self, predicate: Callable[[], object], what: str = "") -> None:
        def turn() -> bool:
            self._ids += submit_jobs(self._queue, 2, b"[[0]]")
            return bool(predicate())

        wait_until(turn, what=what, timeout=60, every=0.02)

    def answers(self) -> list[float]:
        """The answers in the order of the jobs, when all have one; each is the same number again and again."""
        wait_until(lambda: all(job is not None and job.status.is_final for job in self._queue.jobs(self._ids)))
        jobs = [job for job in self._queue.jobs(self._ids) if job is not None]
        assert [job.error for job in jobs if job.status is not JobStatus.COMPLETED] == []
        answers = [set(orjson.loads(job.result or b"")["y"]) for job in jobs]
        assert [answer for answer in answers if len(answer) > 1] == []
        return [number for answer in answers for number in answer]


@pytest.fixture
def load(queue: RedisJobQueue) -> Load:
    return Load(queue)


def starts(worker: Worker) -> int:
    return worker.output.count('"message": "ready"')


def page(worker: Worker) -> str:
    with urllib.request.urlopen(worker.metrics_url, timeout=20) as answer:
        return str(answer.read().decode())


def digest(worker: Worker) -> str:
    return next(line for line in page(worker).splitlines() if line.startswith("inferqueue_worker_model_info"))


def in_place(folder: Path) -> None:
    models.copy_over(folder.parent / "new", folder)


def renamed(folder: Path) -> None:
    models.rename_over(folder.parent / "new", folder)


def higher_version(folder: Path) -> None:
    (folder.parent / "new").rename(folder.parent / "2")


def linked_version(folder: Path) -> None:
    folder.rename(folder.parent / "old")
    folder.symlink_to("new")


# A copy into the files themselves takes its time: only a worker with the pauses of the program may be relied on there.
@pytest.mark.parametrize(
    ("change", "kind"),
    [(in_place, Worker), (renamed, HastyWorker), (higher_version, HastyWorker), (linked_version, HastyWorker)],
)
def test_new_files_are_served_without_a_wrong_or_a_failed_answer(
    start: Start, load: Load, tmp_path: Path, change: Callable[[Path], None], kind: type[Worker]
) -> None:
    folder = tmp_path / "m" / "1"
    models.put(folder, models.adding(OLD))
    models.put(tmp_path / "m" / "new", models.adding(NEW))
    worker = start(kind, MODEL_REPOSITORY=str(tmp_path), MODEL_NAME="m", RUNNERS="2")
    pid, address, before = worker.pid, worker.metrics_url, digest(worker)
    change(folder)
    load.until(lambda: starts(worker) == 2, "a second start")
    answers = load.answers()
    assert sorted(answers) == answers
    assert set(answers) == {OLD, NEW}
    assert digest(worker) != before
    assert (worker.pid, worker.metrics_url) == (pid, address)
    assert worker.terminate() == 0


def test_a_volume_of_kubernetes_is_followed(start: Start, load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    models.as_volume(folder, ("..old", models.adding(OLD)), ("..new", models.adding(NEW)))
    worker = start(HastyWorker, MODEL_REPOSITORY=str(tmp_path), MODEL_NAME="m")
    models.relink(folder / "..data", "..new")
    shutil.rmtree(folder / "..old")
    load.until(lambda: starts(worker) == 2)
    assert set(load.answers()) == {OLD, NEW}


def test_a_copy_that_stops_halfway_and_goes_on_later(start: Start, load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    models.put(folder, models.adding(OLD))
    models.put(tmp_path / "new", models.adding(NEW))
    worker = start(HastyWorker, MODEL_REPOSITORY=str(tmp_path), MODEL_NAME="m")
    new = (tmp_path / "new" / "weights.bin").read_bytes()
    (folder / "weights.bin").write_bytes(new[:5000])
    load.until(lambda: "inferqueue_worker_model_stale 1.0" in page(worker))
    assert "are cut short, 5000 of 131072 bytes" in worker.output
    with (folder / "weights.bin").open("ab") as file:
        file.write(new[5000:])
    load.until(lambda: starts(worker) == 2)
    assert set(load.answers()) == {OLD, NEW}
    assert worker.output.count("the model's new files cannot be served") == 1
    assert "inferqueue_worker_model_stale 0.0" in page(worker)


def test_files_that_do_not_load_leave_the_old_ones_in_service(start: Start, load: Load, tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    path = models.put(folder, models.adding(OLD))
    old = path.read_bytes()
    worker = start(HastyWorker, MODEL_REPOSITORY=str(tmp_path), MODEL_NAME="m")
    path.write_bytes(unary("Frobnicate").SerializeToString())
    load.until(lambda: "inferqueue_worker_model_stale 1.0" in page(worker))
    assert "Frobnicate" in worker.output
    path.write_bytes(old)
    load.until(lambda: "inferqueue_worker_model_stale 0.0" in page(worker))
    assert set(load.answers()) == {OLD}
    assert starts(worker) == 1


def test_a_new_model_yaml_is_heeded(start: Start, tmp_path: Path) -> None:
    store(tmp_path, models.adding(OLD), "m")
    worker = start(HastyWorker, MODEL_REPOSITORY=str(tmp_path), MODEL_NAME="m")
    (tmp_path / "m" / "model.yaml").write_text("batchable: false\n")
    wait_until(lambda: "model.yaml says batchable: false" in worker.output)


def test_a_signal_that_comes_while_it_finishes_ends_it(
    queue: RedisJobQueue, start: Start, tmp_path: Path, repository: Path
) -> None:
    shutil.copytree(repository / "lasting", tmp_path / "lasting")
    submit_jobs(queue, data=b"[1000000000]")
    worker = start(HastyWorker, MODEL_REPOSITORY=str(tmp_path), GRACE_SECONDS="3")
    wait_until(lambda: queue.observe().in_flight == 1)
    (tmp_path / "lasting" / "model.yaml").write_text("max_rows: 1\n")
    wait_until(lambda: "starts again" in worker.output)
    assert worker.terminate() == 0
    assert (queue.observe().length, starts(worker)) == (1, 1)
