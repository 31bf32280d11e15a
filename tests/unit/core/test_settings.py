"""Settings: from the environment and flags, wrong ones stop with their name, secrets are never shown."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue_settings import QueueSettings, RedisSettings
from inferqueue_core.settings import add_flags, read_settings

Read = Callable[..., QueueSettings]
SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QueueSettings.__struct_fields__:
        monkeypatch.delenv(name.upper(), raising=False)


def parse(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_flags(parser, QueueSettings)
    return parser.parse_args(flags)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    def read(*flags: str, **environment: str) -> QueueSettings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return read_settings(QueueSettings, parse(*flags))

    return read


def test_the_defaults(read: Read) -> None:
    settings = read()
    assert settings.url == "redis://127.0.0.1:6379/0"
    assert settings.queue_name == "predict_queue"
    assert settings.policy(max_length=7) == QueuePolicy(max_length=7)


def test_a_flag_wins_over_the_environment(read: Read) -> None:
    assert read("--queue-name", "flag", QUEUE_NAME="environment").queue_name == "flag"
    assert read(QUEUE_NAME="environment").queue_name == "environment"


def test_an_empty_variable_is_an_unset_one(read: Read) -> None:
    names = [name.upper() for name in QueueSettings.__struct_fields__]
    assert read(**dict.fromkeys(names, "")) == QueueSettings()


def test_a_url_wins_over_host_and_port(read: Read) -> None:
    assert read(REDIS_HOST="redis", REDIS_PORT="7000").url == "redis://redis:7000/0"
    assert read(REDIS_URL="unix:///run/redis.sock").url == "unix:///run/redis.sock"


def test_the_port_that_kubernetes_sets_for_a_service(read: Read) -> None:
    assert read(REDIS_PORT="tcp://10.0.0.1:6380").redis_port == 6380


def test_secrets_from_files(read: Read, tmp_path: Path) -> None:
    (tmp_path / "user").write_text("app\n")
    (tmp_path / "password").write_text(f"{SECRET}\n")
    settings = read(REDIS_USERNAME_FILE=str(tmp_path / "user"), REDIS_PASSWORD_FILE=str(tmp_path / "password"))
    assert settings.redis_username == "app"
    assert settings.redis_password is not None
    assert settings.redis_password.get_secret_value() == SECRET


def test_a_password_wins_over_its_file(read: Read, tmp_path: Path) -> None:
    settings = read(REDIS_PASSWORD="direct", REDIS_PASSWORD_FILE=str(tmp_path / "none"))
    assert settings.redis_password is not None
    assert settings.redis_password.get_secret_value() == "direct"


def test_sentinels(read: Read) -> None:
    settings = read(REDIS_SENTINELS="a:26379, b:26380", REDIS_SENTINEL_MASTER="main")
    assert settings.sentinel_addresses == [("a", 26379), ("b", 26380)]
    assert settings.safe_url == "master 'main' of the Sentinels a:26379, b:26380"


def test_a_sentinel_may_be_an_ipv6_address(read: Read) -> None:
    assert read(REDIS_SENTINELS="[::1]:26379").sentinel_addresses == [("::1", 26379)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_PORT", "0"),
        ("REDIS_PORT", "tcp://10.0.0.1"),
        ("REDIS_PORT", "tcp://10.0.0.1:99999"),
        ("REDIS_PORT", "six"),
        ("REDIS_URL", "http://redis"),
        ("REDIS_URL", "redis"),
        ("REDIS_URL", "redis://h:port"),
        ("REDIS_URL", "redis://h:99999"),
        ("REDIS_URL", "redis://[::1"),
        ("REDIS_URL", "redis://h:6379/main"),
        ("REDIS_URL", "redis://h:6379/0?sokcet_timeout=1"),
        ("REDIS_URL", "redis://h:6379/0?socket_timeout=soon"),
        ("REDIS_URL", "redis://h:6379/0?decode_responses=true"),
        ("REDIS_URL", "rediss://h:6379/0?ssl_cert_reqs=perhaps"),
        ("REDIS_URL", "unix://"),
        ("REDIS_URL", "redis://h/predict_queue"),
        ("REDIS_URL", "redis://h/0/1"),
        ("REDIS_SENTINELS", "host"),
        ("REDIS_SENTINELS", "host:x"),
        ("REDIS_SENTINELS", "host:99999"),
        ("REDIS_TLS_CA_FILE", "/ca.pem"),
        ("REDIS_PASSWORD_FILE", "/nowhere/password"),
        ("REDIS_USERNAME_FILE", "/nowhere/user"),
        ("QUEUE_NAME", "models"),
        ("QUEUE_NAME", "a b"),
        ("JOB_TTL", "0"),
        ("JOB_TTL", "soon"),
        ("JOB_TTL", "nan"),
        ("QUEUE_TTL", "0"),
        ("IDEMPOTENCY_TTL", "-1"),
        ("DEAD_MAX_BYTES", "-1"),
        ("PREDICTION_TIMEOUT", "-1"),
        ("LEASE_SECONDS", "0"),
        ("MAX_ATTEMPTS", "0"),
        ("MAX_ATTEMPTS", "2.5"),
        ("DEAD_TTL", "0"),
        ("DEAD_TTL", "0.0001"),
        ("DEAD_TTL", "inf"),
    ],
)
def test_a_wrong_setting_stops_with_its_name(
    read: Read, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        read(**{name: value})
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(name)


@pytest.mark.parametrize(
    ("name", "held"),
    [("REDIS_TLS_CA_FILE", b""), ("REDIS_TLS_CA_FILE", b"\xff\xfe"), ("REDIS_PASSWORD_FILE", b"\xff\xfe")],
)
def test_a_file_that_holds_something_else_is_named(
    read: Read, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, held: bytes
) -> None:
    (tmp_path / "file").write_bytes(held)
    with pytest.raises(SystemExit):
        read(**{"REDIS_URL": "rediss://h", name: str(tmp_path / "file")})
    assert capsys.readouterr().err.startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["REDIS_PORT", "QUEUE_NAME", "JOB_TTL", "REDIS_SENTINELS", "REDIS_URL"])
def test_a_stop_shows_no_secret(read: Read, capsys: pytest.CaptureFixture[str], name: str) -> None:
    wrong = "://" if name != "REDIS_URL" else f"http://user:{SECRET}@redis"
    with pytest.raises(SystemExit):
        read(**{"REDIS_PASSWORD": SECRET, "REDIS_SENTINEL_PASSWORD": SECRET, name: wrong})
    assert SECRET not in capsys.readouterr().err


def test_every_wrong_setting_is_named_at_once(read: Read, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(JOB_TTL="soon", MAX_ATTEMPTS="0")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("=")[0] for line in lines] == ["JOB_TTL", "MAX_ATTEMPTS"]


def test_settings_show_no_secret(read: Read) -> None:
    settings = read(REDIS_PASSWORD=SECRET, REDIS_SENTINEL_PASSWORD=SECRET)
    assert settings.redis_password is not None
    assert SECRET not in f"{settings!r} {settings} {settings.redis_password}"
    assert read(REDIS_URL=f"redis://user:{SECRET}@redis:1/0").safe_url == "redis://redis:1/0"
    assert read(REDIS_URL=f"redis://redis:1/0?password={SECRET}").safe_url == "redis://redis:1/0"
    assert read(REDIS_URL=f"unix:///run/redis.sock?password={SECRET}").safe_url == "unix:///run/redis.sock"


def test_help_lists_all_but_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    for name in QueueSettings.__struct_fields__:
        shown = f"--{name.replace('_', '-')} " in text
        assert shown == (name not in ("redis_password", "redis_sentinel_password")), name
        assert not shown or name.upper() in text


def test_a_field_that_there_is_not_is_a_mistake_of_the_program() -> None:
    with pytest.raises(TypeError, match="RedisSettings has no field redis_ulr"):
        RedisSettings.checked(redis_ulr="redis://h")


def test_the_same_settings_serve_programs_without_a_queue() -> None:
    assert RedisSettings(redis_host="redis").url == "redis://redis:6379/0"
