"""dramatiq on Redis: its usual middleware, and results stored; it always acknowledges after the run."""

import os
from typing import Any

import dramatiq  # type: ignore[import-not-found]  # installed in an environment of its own
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]
from dramatiq.results import Results  # type: ignore[import-not-found]
from dramatiq.results.backends import RedisBackend  # type: ignore[import-not-found]

import enqueuing
from naive.iris import Iris

url = os.environ["REDIS_URL"]
results = RedisBackend(url=url)
broker = RedisBroker(url=url)
broker.add_middleware(Results(backend=results, store_results=True, result_ttl=3_600_000))
dramatiq.set_broker(broker)
model = Iris()


def _classify(rows: list[list[float]]) -> dict[str, Any]:
    return model.predict(rows)[0]


classify = dramatiq.actor(_classify, actor_name="classify")


def _submit(rows: list[list[float]]) -> str:
    return str(results.build_message_key(classify.send(rows)))


if __name__ == "__main__":
    enqueuing.main(_submit)
