"""Our producer: the queue's own client, one submit at a time."""

import json

import enqueuing
from inferqueue_core.connection import connect
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import Accepted, NewJob, Submission
from inferqueue_core.keys import job_key
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import QueueSettings


def main() -> None:
    settings = QueueSettings.from_environment()
    queue = RedisJobQueue(connect(settings), settings.queue_name, settings.policy())

    def submit(rows: list[list[float]]) -> str:
        job_id = new_job_id()
        (outcome,) = queue.submit([Submission((NewJob(job_id, json.dumps(rows).encode()),))])
        assert isinstance(outcome, Accepted), outcome
        return job_key("", job_id, "result")

    enqueuing.main(submit)


if __name__ == "__main__":
    main()
