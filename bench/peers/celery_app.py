"""Celery on Redis: results stored, acknowledged after the run, and what an idle worker chats about switched off."""

import os
from typing import Any

from celery import Celery  # type: ignore[import-not-found]  # installed in an environment of its own

import enqueuing
from naive.iris import Iris

url = os.environ["REDIS_URL"]
app = Celery("iris", broker=url, backend=url)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=64,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    result_expires=3600,
    broker_connection_retry_on_startup=True,
)
model = Iris()


def _classify(rows: list[list[float]]) -> dict[str, Any]:
    return model.predict(rows)[0]


classify = app.task(_classify, name="classify")


def _submit(rows: list[list[float]]) -> str:
    return f"celery-task-meta-{classify.delay(rows).id}"


if __name__ == "__main__":
    enqueuing.main(_submit)
