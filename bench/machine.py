"""The machine and the versions that the figures hold for."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import redis

from inferqueue_worker.cpu import cpu_budget


def describe(client: redis.Redis) -> dict[str, str]:
    """Name what the figures depend on, for people to read."""
    info = client.info("server")
    server = info.get("server_name", "redis").capitalize()
    return {
        "CPU": f"{_cpu_model()}, {cpu_budget()} cores",
        "System": f"{platform.system()} {platform.release()}",
        server: f"{info.get('valkey_version') or info['redis_version']}, AOF everysec, TCP on 127.0.0.1",
        "Python": platform.python_version(),
        "Packages": ", ".join(
            f"{name} {version(name)}" for name in ("onnxruntime", "redis", "hiredis", "fastapi", "uvicorn", "numpy")
        ),
        "Load before": f"{os.getloadavg()[0]:.2f} processes (1 min)",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
