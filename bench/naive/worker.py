"""The naive worker: BRPOP, GET, run, SET, SET, one job at a time. A job that it holds when it is killed is lost."""

import json
import os
from typing import Any

import redis

from naive.iris import Iris


def main() -> None:
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    model = Iris()
    while True:
        taken: Any = client.brpop(["predict_queue"], timeout=1)
        if taken is None:
            continue
        job_id = taken[1].decode()
        data = client.get(f"job:{job_id}:data")
        assert data is not None
        result = model.predict(json.loads(data))
        client.set(f"job:{job_id}:result", json.dumps(result[0] if len(result) == 1 else result))
        client.set(f"job:{job_id}:status", "completed")


if __name__ == "__main__":
    main()
