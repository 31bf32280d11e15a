"""What KServe's client sees of a model: `python kserve_client.py URL`; prints one JSON object.

The package itself is not initialised: that would import its servers, which need Kubernetes and much that is not here.
"""

import asyncio
import importlib.util
import json
import sys
import types
from typing import Any

import numpy as np

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)


async def ask(url: str) -> dict[str, Any]:
    from kserve.inference_client import InferenceRESTClient, RESTConfig
    from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput

    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    seen: dict[str, Any] = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": await client.is_model_ready(url, "iris"),
    }
    for binary in (True, False):
        given = InferInput("input", list(ROWS.shape), "FP32")
        given.set_data_from_numpy(ROWS, binary_data=binary)
        wanted = [RequestedOutput("label", {"binary_data": binary})]
        request = InferRequest("iris", [given], request_id="r1", request_outputs=wanted)
        answer = await client.infer(url, request, model_name="iris")
        label = answer.outputs[0].as_numpy().tolist()
        seen["binary" if binary else "json"] = [answer.id, answer.model_name, label]
    await client.close()
    return seen


def main(url: str) -> None:
    found = importlib.util.find_spec("kserve")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("kserve is not installed")
    package = types.ModuleType("kserve")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["kserve"] = package
    print(json.dumps(asyncio.run(ask(url))))


main(sys.argv[1])
