"""Settings of the proxy."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from inferqueue_core.queue_settings import QueueSettings
from inferqueue_core.settings import Secret


def _check_origins(origins: str) -> str:
    for origin in filter(None, (part.strip() for part in origins.split(","))):
        parts = urlsplit(origin)
        if origin != "*" and (parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}"):
            raise ValueError(f"{origin!r} is no origin; write it as https://app.example:8443, without a path, or *")
    return origins


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
    max_connections: Annotated[
        int, Meta(ge=0, description="most clients connected at once; 0: as many as open files allow, up to 10,000")
    ] = 0
    header_timeout: Annotated[
        float, Meta(ge=1, le=3600, description="seconds within which a request's URL and headers must come")
    ] = 15
    body_timeout: Annotated[
        float, Meta(ge=1, le=3600, description="seconds for which a body may not come, or an answer not be taken")
    ] = 30
    keep_alive_timeout: Annotated[
        float, Meta(ge=1, le=86_400, description="seconds for which a connection is kept between two requests")
    ] = 100
    cors_origins: Annotated[
        str, Meta(description="origins whose pages may ask, comma separated, or *; none when empty"), _check_origins
    ] = ""
    api_keys: Annotated[Secret | None, Meta(description="comma separated keys; requests must carry one of them")] = None
    api_keys_file: Annotated[
        Path | None, Meta(description="file with one API key a line; read again when it changes")
    ] = None

    @property
    def allowed_origins(self) -> list[str]:
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]
