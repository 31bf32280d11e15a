"""What `inferqueue up` can be told."""

import argparse
import os
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from inferqueue_core.scaling import Objective
from inferqueue_core.settings import QueueName, RedisSettings, Settings, read_settings

_NAMES_OF_REDIS = ("REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS")
_CHECKOUT = Path(__file__).parents[3] / "models"


class UpSettings(Settings):
    """Each is also an environment variable, by its name in upper case."""

    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(2, ge=0, le=256)
    min_workers: int = Field(0, ge=0, le=256)
    max_workers: int | None = Field(None, ge=1, le=256)
    max_wait: float = Field(30.0, gt=0, le=86_400)
    data_dir: Path = Path(".inferqueue")
    model_repository: Path | None = None
    model_name: str = "iris"
    queue_name: QueueName = "predict_queue"

    @model_validator(mode="after")
    def _check_workers(self) -> Self:
        if self.max_workers is not None and self.min_workers > self.max_workers:
            raise ValueError(f"--min-workers {self.min_workers} is more than --max-workers {self.max_workers}")
        if self.max_workers is None and self.min_workers > 0:
            raise ValueError("--min-workers needs --max-workers beside it; --workers alone runs a fixed number")
        if self.max_workers is None and "max_wait" in self.model_fields_set:
            raise ValueError("--max-wait needs --max-workers beside it; a fixed number of workers promises no wait")
        return self

    @property
    def objective(self) -> Objective | None:
        """What scales the workers; None for a fixed number."""
        if self.max_workers is None:
            return None
        return Objective(max_wait=self.max_wait, min_replicas=self.min_workers, max_replicas=self.max_workers)

    @property
    def most_workers(self) -> int:
        return self.workers if self.max_workers is None else self.max_workers

    @property
    def first_workers(self) -> int:
        """How many workers there are at the start; one at least, so that the model is known."""
        return self.workers if self.max_workers is None else max(1, self.min_workers)

    @model_validator(mode="after")
    def _check_repository(self) -> Self:
        self.repository()
        return self

    def repository(self) -> Path:
        """Give the folder that holds the model: the one named, else `models` here, else that of the source checkout."""
        places = [Path("models"), _CHECKOUT] if self.model_repository is None else [self.model_repository]
        for place in places:
            if (place / self.model_name).is_dir():
                return place.resolve()
        held = sorted(entry.name for entry in places[0].iterdir() if entry.is_dir()) if places[0].is_dir() else []
        there = (
            f"it holds {', '.join(held)}" if held else "it holds no model" if places[0].is_dir() else "no such folder"
        )
        raise ValueError(
            f"there is no model {self.model_name!r} in {str(places[0])!r} ({there}); name a folder that holds "
            f"{self.model_name}/1/model.onnx with --model-repository, or another model with --model"
        )


def foreign_redis(flags: argparse.Namespace) -> RedisSettings | None:
    """Give the Redis to use instead of one of `up`'s own; None when neither flag nor environment names one."""
    if flags.redis_url is None and not any(os.environ.get(name) for name in _NAMES_OF_REDIS):
        return None
    return read_settings(RedisSettings, flags)


def own_redis(url: str) -> RedisSettings:
    """Give the settings of `up`'s own Redis: a REDIS_PASSWORD in the environment belongs to another one."""
    return RedisSettings(redis_url=url, key_prefix=os.environ.get("KEY_PREFIX", ""))
