"""The Redis of a release: its Secret, its configuration, and both together in a real server."""

import base64
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from support.charts import environment, render
from support.ports import free_port
from support.redis_servers import server_program
from support.waiting import wait_until

PASSWORD = "ünguessable p%ss\"w'rd"


def files(values: Any = None) -> dict[str, str]:
    found: dict[str, str] = render(values={"redis": values or {}}).one("ConfigMap", "-redis")["data"]
    return found


def setting(name: str, values: Any = None) -> str:
    lines = [line for line in files(values)["redis.conf"].splitlines() if line.startswith(f"{name} ")]
    assert len(lines) == 1
    return lines[0].removeprefix(f"{name} ")


@pytest.mark.parametrize(
    ("limit", "bytes_"),
    [
        ("512Mi", 402_653_184),
        ("1Gi", 805_306_368),
        ("2G", 1_500_000_000),
        ("1000000", 750_000),
        (8_000_000, 6_000_000),
    ],
)
def test_redis_takes_three_quarters_of_its_memory(limit: str | int, bytes_: int) -> None:
    assert setting("maxmemory", {"resources": {"limits": {"memory": limit}}}) == str(bytes_)


def test_redis_takes_what_it_is_told() -> None:
    values = {"maxMemory": "100mb", "appendFsync": "always", "resources": {"limits": {"memory": None}}}
    assert setting("maxmemory", values) == "100mb"
    assert setting("appendfsync", values) == "always"


def test_the_address_holds_the_password_and_the_name_that_every_namespace_knows() -> None:
    secret = render().one("Secret", "-redis")
    password, url = (base64.b64decode(secret["data"][key]).decode() for key in ("password", "url"))
    assert len(password) == 32
    assert url == f"redis://:{password}@queues-inferqueue-redis.inference.svc:6379/0"
    # A hook is no part of the release: no upgrade, rollback or removal of it changes the Secret.
    assert secret["metadata"]["annotations"] == {"helm.sh/hook": "pre-install,pre-upgrade"}


def test_no_secret_is_made_where_there_is_one() -> None:
    objects = render(values={"redis": {"auth": {"existingSecret": "vault"}}})
    assert objects.of("Secret") == []
    reference = {"secretKeyRef": {"name": "vault", "key": "password"}}
    assert environment(objects.pod("-redis"), "redis")["REDISCLI_AUTH"] == reference


def test_an_external_redis_leaves_nothing_of_ours() -> None:
    objects = render(values={"redis": {"enabled": False}, "externalRedis": {"existingSecret": "far"}})
    assert objects.of("StatefulSet") == objects.of("Secret") == []
    assert [item["metadata"]["name"] for item in objects.of("Service")] == ["queues-inferqueue-proxy"]


def test_the_jobs_outlive_the_release() -> None:
    redis_set = render().one("StatefulSet", "-redis")["spec"]
    assert redis_set["replicas"] == 1
    assert redis_set["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = redis_set["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "8Gi"


def test_an_upgrade_mends_a_redis_that_never_became_ready() -> None:
    # With the default, OrderedReady, the controller waits for the broken pod before it makes the one that would work.
    assert render().one("StatefulSet", "-redis")["spec"]["podManagementPolicy"] == "Parallel"


@pytest.mark.parametrize(
    ("persistence", "volume"),
    [
        ({"enabled": False}, {"name": "data", "emptyDir": {}}),
        ({"existingClaim": "mine"}, {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}),
    ],
)
def test_the_data_lies_elsewhere_on_request(persistence: Any, volume: Any) -> None:
    redis_set = render(values={"redis": {"persistence": persistence}}).one("StatefulSet", "-redis")["spec"]
    assert volume in redis_set["template"]["spec"]["volumes"]
    assert "volumeClaimTemplates" not in redis_set


def test_redis_is_started_anew_when_its_configuration_changes_and_not_for_a_password() -> None:
    def checksum(values: Any) -> str:
        return render(values={"redis": values}).pod("-redis").annotations["checksum/config"]

    # Each rendering has another password by chance.
    assert checksum({}) == checksum({"podLabels": {"a": "b"}})
    assert checksum({}) != checksum({"extraConfig": "slowlog-max-len 7"})


def probe(name: str) -> list[str]:
    command: list[str] = render().pod("-redis").container("redis")[name]["exec"]["command"]
    return command


def answers(folder: Path, name: str, answer: str) -> bool:
    """Tell whether a probe is content when redis-cli prints `answer` and, as it does for errors, ends with 0."""
    folder.joinpath("redis-cli").write_text(f"#!/bin/sh\necho '{answer}'\n")
    folder.joinpath("redis-cli").chmod(0o755)
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(probe(name), env=path, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("name", "answer", "content"),
    [
        ("startupProbe", "PONG", True),
        ("startupProbe", "LOADING Redis is loading the dataset in memory", False),
        ("readinessProbe", "PONG", True),
        ("readinessProbe", "LOADING Redis is loading the dataset in memory", False),
        ("readinessProbe", "NOAUTH Authentication required.", False),
        ("livenessProbe", "PONG", True),
        ("livenessProbe", "LOADING Redis is loading the dataset in memory", True),
        ("livenessProbe", "Could not connect to Redis at 127.0.0.1:6379: Connection refused", False),
    ],
)
def test_a_redis_that_loads_is_alive_and_not_ready(tmp_path: Path, name: str, answer: str, content: bool) -> None:
    assert answers(tmp_path, name, answer) is content


def test_redis_may_load_for_long() -> None:
    startup = render().pod("-redis").container("redis")["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] >= 600


class Pod:
    """The container of Redis, as a process with the chart's own files, folders and variables."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        for name in ("etc", "run", "data", "bin"):
            folder.joinpath(name).mkdir()
        folder.joinpath("bin", "redis-server").symlink_to(server_program())
        for name, text in files().items():
            folder.joinpath("etc", name).write_text(self._moved(text))

    def _moved(self, text: str) -> str:
        moved = text.replace("/etc/redis", f"{self._folder}/etc").replace("/run/redis", f"{self._folder}/run")
        return moved.replace("dir /data", f"dir {self._folder}/data").replace("port 6379", f"port {self.port}")

    def start(self, password: str) -> subprocess.Popen[str]:
        denied = environment(render().pod("-redis"), "redis")["DENIED_COMMANDS"]
        variables = {"REDISCLI_AUTH": password, "DENIED_COMMANDS": denied}
        return subprocess.Popen(
            ["sh", str(self._folder / "etc" / "start.sh")],
            env={"PATH": f"{self._folder}/bin:{os.environ['PATH']}"} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=PASSWORD, protocol=2)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.fixture
def client(pod: Pod) -> Iterator[redis.Redis]:
    process = pod.start(PASSWORD)
    client = pod.client()
    try:
        wait_until(lambda: pings(client), what="an answer of Redis")
        yield client
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_a_server_started_like_this_keeps_every_job(client: redis.Redis) -> None:
    settings = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "maxmemory", "save")
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "maxmemory": "402653184",
        "save": "",
    }


def test_nobody_comes_in_without_the_password(client: redis.Redis, pod: Pod) -> None:
    with redis.Redis(port=pod.port, protocol=2) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_nobody_empties_the_queues_by_mistake(client: redis.Redis) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError, match="flushall"):
        client.flushall()


def test_the_password_lies_in_no_file_and_not_in_the_server_s_environment(
    client: redis.Redis, pod: Pod, tmp_path: Path
) -> None:
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "bin"]
    process = Path(f"/proc/{client.info()['process_id']}")
    texts += [(process / name).read_bytes() for name in ("cmdline", "environ") if process.exists()]
    assert not any(PASSWORD.encode() in text for text in texts)


def test_an_empty_password_is_refused(pod: Pod) -> None:
    output, _ = pod.start("").communicate(timeout=20)
    assert "the key 'password' of the Secret of Redis holds nothing" in output
