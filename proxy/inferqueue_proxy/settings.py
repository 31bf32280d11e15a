"""Settings of the proxy."""

from pathlib import Path

from pydantic import Field, SecretStr

from inferqueue_core.settings import QueueSettings


class ProxySettings(QueueSettings):
    """Where the proxy listens, what it takes, and who may ask."""

    host: str = Field("0.0.0.0", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port of the API; 0 takes a free one")
    metrics_port: int = Field(9090, ge=0, le=65535, description="port of /metrics; 0 takes a free one")
    queue_max_length: int = Field(100_000, ge=0, description="most jobs that may wait in one queue; 0 means no limit")
    max_body_bytes: int = Field(8 * 1024 * 1024, ge=1, description="largest request body, also after decompression")
    api_keys: SecretStr | None = Field(None, description="comma separated keys; requests must carry one of them")
    api_keys_file: Path | None = Field(None, description="file with one API key a line; read again when it changes")
