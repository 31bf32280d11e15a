"""Settings of the proxy."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from inferqueue_core.queue_settings import QueueSettings
from inferqueue_core.settings import Secret


class ProxySettings(QueueSettings, frozen=True, kw_only=True):
    """Where the proxy listens, what it takes, and who may ask."""

    host: Annotated[str, Meta(description="address to listen on")] = "0.0.0.0"
    port: Annotated[int, Meta(ge=0, le=65535, description="port of the API; 0 takes a free one")] = 8000
    metrics_port: Annotated[int, Meta(ge=0, le=65535, description="port of /metrics; 0 takes a free one")] = 9090
    queue_max_length: Annotated[
        int, Meta(ge=0, description="most jobs that may wait in one queue; 0 means no limit")
    ] = 100_000
    max_body_bytes: Annotated[int, Meta(ge=1, description="largest request body, also after decompression")] = (
        8 * 1024 * 1024
    )
    api_keys: Annotated[Secret | None, Meta(description="comma separated keys; requests must carry one of them")] = None
    api_keys_file: Annotated[
        Path | None, Meta(description="file with one API key a line; read again when it changes")
    ] = None
