"""The supervisor with real programs, driven tick by tick."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferqueue import Client
from inferqueue.up.data_dir import DataDir
from inferqueue.up.guard import Guard
from inferqueue.up.programs import Programs
from inferqueue.up.screen import Screen
from inferqueue.up.settings import UpSettings
from inferqueue.up.supervisor import Stop, Supervisor
from inferqueue_core.queue_settings import RedisSettings
from support.redis_servers import RedisServer
from support.waiting import wait_until


@pytest.fixture
def supervisor(tmp_path: Path, own_redis: RedisServer) -> Iterator[Supervisor]:
    data_dir = DataDir(tmp_path)
    data_dir.take()
    guard = Guard(data_dir.lock)
    settings = UpSettings(port=0, data_dir=tmp_path)
    programs = Programs(settings, RedisSettings(redis_url=own_redis.url), data_dir, guard)
    supervisor = Supervisor(programs, Screen(), Stop())
    yield supervisor
    supervisor.kill()
    guard.close()
    data_dir.release()


def workers() -> int:
    return len(worker_ids())


def worker_ids() -> list[int]:
    """Give the processes of the workers that this process has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            command = entry.joinpath("cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == os.getpid() and b"inferqueue_worker" in command:
            found.append(int(entry.name))
    return found


def test_workers_come_and_go(supervisor: Supervisor) -> None:
    def ticked_to(count: int) -> bool:
        supervisor.tick()
        return workers() == count

    supervisor.start(1)
    supervisor.scale_to(3)
    assert workers() == 3

    with Client(supervisor.address) as client:
        handles = client.submit_many([[[5.1, 3.5, 1.4, 0.2]]] * 300)
        supervisor.scale_to(1)
        wait_until(lambda: ticked_to(1), what="the end of two workers")
        assert {handle.result(30)["prediction"] for handle in handles} == {0}

    supervisor.scale_to(0)
    wait_until(lambda: ticked_to(0), what="the end of the last worker")
    assert supervisor.drain()


def test_a_worker_that_crashed_is_not_waited_for_once_it_is_no_longer_wanted(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Screen, "event", lambda _, text: said.append(text))
    monkeypatch.setattr(Screen, "progress", lambda _, text: said.append(text))

    def crash_is_noticed() -> bool:
        supervisor.tick()
        return any("was ended by SIGKILL" in text for text in said)

    supervisor.start(1)
    os.kill(worker_ids()[0], signal.SIGKILL)
    wait_until(crash_is_noticed, what="the worker's end")
    supervisor.scale_to(0)
    supervisor.tick()
    said.clear()

    assert supervisor.drain()
    assert not [text for text in said if "worker" in text]
