"""What a client asks over HTTP and what it hears, through proxy, queue and worker: names, keys, shapes, empty axes."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from support.oip import binary_body, json_body, read_outputs
from support.onnx_models import array_classifier, growing_cache, store, without_shapes, zipmap_classifier
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

ROW = [2.0, -1.0, 0.5, 0.5]  # the middle class
MODELS: dict[str, tuple[Any, str]] = {
    "from_one": (array_classifier((1, 2, 3)), "classes: [a, b, c]"),
    "letters": (zipmap_classifier(("B", "z", "ä")), ""),
    "signs": (zipmap_classifier((-1, 0, 1)), "classes: {-1: down, 0: level, 1: up}"),
    "open": (without_shapes(), ""),
    "cache": (growing_cache(), "sample: {token: [1.0], past: [[[], []]]}"),
}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a proxy whose every model has a queue and a worker of its own."""
    repository: Path = tmp_path_factory.mktemp("answers")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        for name, (model, config) in MODELS.items():
            store(repository, model, name, config)
            settings = {"MODEL_NAME": name, "QUEUE_NAME": name, "RUNNERS": "1"}
            stack.enter_context(Worker(redis.url, MODEL_REPOSITORY=str(repository), **settings))
        proxy = stack.enter_context(Proxy(redis.url))
        client = stack.enter_context(httpx.Client(base_url=proxy.url, timeout=30))
        for name in MODELS:
            wait_until(lambda name=name: client.get(f"/v2/models/{name}/ready").is_success)  # type: ignore[misc]
        yield client


def predict(http: httpx.Client, model: str, data: Any) -> Any:
    answer = http.post("/predict", json={"model": model, "data": data}, headers={"Prefer": "wait=20"})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert job["status"] == "completed", job
    return job["result"]


def predict_batch(http: httpx.Client, model: str, *data: Any) -> list[Any]:
    answer = http.post("/predict/batch", json=[{"model": model, "data": each} for each in data])
    assert answer.status_code == 202, answer.text
    jobs = [http.get(f"/job/{job_id}?wait=20").json() for job_id in answer.json()["job_ids"]]
    assert [job["status"] for job in jobs] == ["completed"] * len(data)
    return [job["result"] for job in jobs]


def metadata(http: httpx.Client, model: str) -> Any:
    return http.get(f"/v2/models/{model}").json()


def test_labels_that_do_not_begin_at_0_have_their_own_names(http: httpx.Client) -> None:
    result = predict(http, "from_one", [ROW])
    assert result["class_name"] == {1: "a", 2: "b", 3: "c"}[result["prediction"]]
    assert int(np.argmax(result["probabilities"])) + 1 == result["prediction"]


def test_the_metadata_tells_whose_probabilities_are_whose(http: httpx.Client) -> None:
    label, probabilities = metadata(http, "from_one")["outputs"]
    assert "classes" not in label
    assert probabilities["classes"] == ["a", "b", "c"]


def test_probabilities_keep_the_keys_of_their_map(http: httpx.Client) -> None:
    result = predict(http, "letters", [ROW])
    assert result["probabilities"].keys() == {"B", "z", "ä"}
    assert max(result["probabilities"], key=result["probabilities"].get) == result["prediction"] == result["class_name"]


def test_the_keys_of_a_map_are_named_as_its_labels_are(http: httpx.Client) -> None:
    one, two = predict(http, "signs", [ROW, [-number for number in ROW]])
    for result in (one, two):
        assert result["probabilities"].keys() == {"down", "level", "up"}
        assert result["class_name"] == {-1: "down", 0: "level", 1: "up"}[result["prediction"]]
        assert max(result["probabilities"], key=result["probabilities"].get) == result["class_name"]


SHAPES = [(), (3,), (1, 2), (2, 1, 2), (2, 0)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_input_without_a_shape_takes_any_shape_on_every_route(http: httpx.Client, shape: tuple[int, ...]) -> None:
    x = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    raw, headers = binary_body({"x": x})
    binary = http.post("/v2/models/open/infer", content=raw, headers=headers)
    for answer in (http.post("/v2/models/open/infer", content=json_body({"x": x})), binary):
        y = read_outputs(answer)["y"]
        assert y.shape == shape
        np.testing.assert_array_equal(y, -x)
    assert predict(http, "open", x.tolist()) == {"y": (-x).tolist()}
    assert predict_batch(http, "open", x.tolist(), 5) == [{"y": (-x).tolist()}, {"y": -5.0}]


def test_an_input_without_a_shape_is_told_as_one_of_any_length(http: httpx.Client) -> None:
    told = metadata(http, "open")
    assert [end["shape"] for end in (*told["inputs"], *told["outputs"])] == [[-1], [-1]]
    body = np.array([1, 2, 3], np.float32).tobytes()
    headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    answer = http.post("/v2/models/open/infer", content=body, headers=headers)
    np.testing.assert_array_equal(read_outputs(answer)["y"], np.array([-1, -2, -3], np.float32))


def grown(past: np.ndarray[Any, Any], token: float) -> np.ndarray[Any, Any]:
    return np.concatenate([past, np.full((len(past), 2, 1, 4), token, np.float32)], axis=2)


@pytest.mark.parametrize("length", [0, 3])
def test_a_cache_is_data_on_every_route_also_while_it_is_empty(http: httpx.Client, length: int) -> None:
    past = np.random.default_rng(7).integers(0, 9, (1, 2, length, 4)).astype(np.float32)
    inputs = {"token": np.array([7], np.float32), "past": past}
    raw, headers = binary_body(inputs)
    binary = http.post("/v2/models/cache/infer", content=raw, headers=headers)
    for answer in (http.post("/v2/models/cache/infer", content=json_body(inputs)), binary):
        np.testing.assert_array_equal(read_outputs(answer)["present"], grown(past, 7))
    nested = {"token": [7], "past": past.tolist()}
    expected = {"present": grown(past, 7)[0].tolist()}
    assert predict(http, "cache", nested) == expected
    assert predict_batch(http, "cache", nested, nested) == [expected, expected]


def test_nested_data_of_the_protocol_may_end_at_an_empty_axis(http: httpx.Client) -> None:
    inputs = [
        {"name": "token", "shape": [1], "datatype": "FP32", "data": [7]},
        {"name": "past", "shape": [1, 2, 0, 4], "datatype": "FP32", "data": [[[], []]]},
    ]
    answer = http.post("/v2/models/cache/infer", content=orjson.dumps({"inputs": inputs}))
    assert read_outputs(answer)["present"].shape == (1, 2, 1, 4)


def test_no_rows_at_all_are_refused_where_rows_count(http: httpx.Client) -> None:
    answer = http.post("/predict", json={"model": "from_one", "data": []})
    assert answer.status_code == 422
    assert "there are 0 rows; send at least one" in answer.text
