"""What `inferqueue up` can be told."""

import argparse
import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from inferqueue_core.queue_settings import QueueName, RedisSettings
from inferqueue_core.scaling import Objective
from inferqueue_core.settings import Settings, read_settings

_NAMES_OF_REDIS = ("REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS")
_DEFAULT_WAIT = 30.0
_CHECKOUT = Path(__file__).parents[3] / "models"


class UpSettings(Settings, frozen=True, kw_only=True):
    """Each is also an environment variable, by its name in upper case."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    workers: Annotated[int, Meta(ge=0, le=256)] = 2
    min_workers: Annotated[int, Meta(ge=0, le=256)] = 0
    max_workers: Annotated[int, Meta(ge=1, le=256)] | None = None
    max_wait: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    data_dir: Path = Path(".inferqueue")
    model_repository: Path | None = None
    model_name: str = "iris"
    queue_name: QueueName = "predict_queue"

    def _check(self) -> None:
        if self.max_workers is not None and self.min_workers > self.max_workers:
            raise ValueError(f"--min-workers {self.min_workers} is more than --max-workers {self.max_workers}")
        if self.max_workers is None and self.min_workers > 0:
            raise ValueError("--min-workers needs --max-workers beside it; --workers alone runs a fixed number")
        if self.max_workers is None and self.max_wait is not None:
            raise ValueError("--max-wait needs --max-workers beside it; a fixed number of workers promises no wait")
        self.repository()

    @property
    def objective(self) -> Objective | None:
        """What scales the workers; None for a fixed number."""
        if self.max_workers is None:
            return None
        return Objective(max_wait=self.wait, min_replicas=self.min_workers, max_replicas=self.max_workers)

    @property
    def wait(self) -> float:
        """The seconds that a job may wait where workers are scaled."""
        return _DEFAULT_WAIT if self.max_wait is None else self.max_wait

    @property
    def most_workers(self) -> int:
        return self.workers if self.max_workers is None else self.max_workers

    @property
    def first_workers(self) -> int:
        """How many workers there are at the start; one at least, so that the model is known."""
        return self.workers if self.max_workers is None else max(1, self.min_workers)

    def repository(self) -> Path:
        """Return the folder that holds the model: the one named, else `models` here, else that of the checkout."""
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
    """Return the Redis to use instead of one of `up`'s own; None when neither flag nor environment names one."""
    if flags.redis_url is None and not any(os.environ.get(name) for name in _NAMES_OF_REDIS):
        return None
    return read_settings(RedisSettings, flags)


def own_redis(url: str) -> RedisSettings:
    """Return the settings of `up`'s own Redis: a REDIS_PASSWORD in the environment belongs to another one."""
    return RedisSettings(redis_url=url, key_prefix=os.environ.get("KEY_PREFIX", ""))
