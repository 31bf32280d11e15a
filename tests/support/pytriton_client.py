"""What PyTriton's clients see of a model: `python pytriton_client.py URL`; prints one JSON object."""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from pytriton.client import AsyncioModelClient, FuturesModelClient, ModelClient
from pytriton.client.exceptions import PyTritonClientInferenceServerError

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)


async def infer_by_asyncio(url: str) -> list[int]:
    async with AsyncioModelClient(url, "iris") as client:
        labels: list[int] = (await client.infer_batch(ROWS))["label"].tolist()
        return labels


def main(url: str) -> None:
    seen: dict[str, Any] = {}
    with ModelClient(url, "iris") as client:
        seen["takes_batches"] = client.model_config.max_batch_size > 0
        seen["input_shapes"] = [spec.shape for spec in client.model_config.inputs]
        seen["batch"] = client.infer_batch(ROWS)["label"].tolist()
        seen["batch_by_name"] = client.infer_batch(input=ROWS)["probabilities"].shape
        seen["sample"] = int(client.infer_sample(ROWS[1])["label"])
    with ModelClient(url, "iris", "1") as client:
        try:
            client.infer_batch(ROWS[:, :3])
        except PyTritonClientInferenceServerError as error:
            seen["refusal"] = str(error)
    with FuturesModelClient(url, "iris") as futures:
        seen["futures"] = futures.infer_batch(ROWS).result(timeout=30)["label"].tolist()
    seen["asyncio"] = asyncio.run(infer_by_asyncio(url))
    print(json.dumps(seen))


main(sys.argv[1])
