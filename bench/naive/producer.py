"""The naive producer: SET, SET, LPUSH."""

import json
import os
import uuid

import redis

import enqueuing


def main() -> None:
    client = redis.Redis.from_url(os.environ["REDIS_URL"])

    def submit(rows: list[list[float]]) -> str:
        job_id = str(uuid.uuid4())
        client.set(f"job:{job_id}:data", json.dumps(rows))
        client.set(f"job:{job_id}:status", "pending")
        client.lpush("predict_queue", job_id)
        return f"job:{job_id}:result"

    enqueuing.main(submit)


if __name__ == "__main__":
    main()
