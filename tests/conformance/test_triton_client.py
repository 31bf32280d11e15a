"""Triton's own client, unchanged from the index, is served."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, aio
from tritonclient.utils import InferenceServerException

from inferqueue_core.datatypes import Array
from support.onnx_models import STRING, store, unary
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)
TEXTS = np.array(["Köln", "", "日本 ☕"], dtype=object)


@pytest.fixture(scope="module", autouse=True)
def _workers(lasting_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Iris on the proxy's own queue, a model of strings and one of numbers beside it."""
    folder: Path = tmp_path_factory.mktemp("triton")
    store(folder, unary("Identity", ["rows"], STRING), "echo")
    echo = {"MODEL_REPOSITORY": str(folder), "MODEL_NAME": "echo", "QUEUE_NAME": "echo_queue"}
    store(folder, unary("Identity", ["rows", 2]), "numbers")
    numbers = {"MODEL_REPOSITORY": str(folder), "MODEL_NAME": "numbers", "QUEUE_NAME": "numbers_queue"}
    with Worker(lasting_redis.url), Worker(lasting_redis.url, **echo), Worker(lasting_redis.url, **numbers):
        yield


@pytest.fixture
def client(proxy: Proxy) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(proxy.url.removeprefix("http://"), concurrency=4) as triton:
        yield triton


def tensor(array: Array, name: str = "input", kind: str = "FP32", *, binary: bool = True) -> InferInput:
    made = InferInput(name, list(array.shape), kind)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def test_health_and_metadata(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", "1")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "inferqueue"
    model = client.get_model_metadata("iris", "1")
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    assert [output["name"] for output in model["outputs"]] == ["label", "probabilities"]


def test_the_repository_index_names_the_models(client: InferenceServerClient) -> None:
    def states() -> dict[str, str]:
        return {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}

    # The proxy reads the list of models anew once a second.
    wait_until(lambda: {"iris", "echo"} <= states().keys())
    assert set(states().values()) == {"READY"}


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_numbers(client: InferenceServerClient, *, binary_in: bool, binary_out: bool) -> None:
    wanted = [InferRequestedOutput(name, binary_data=binary_out) for name in ("label", "probabilities")]
    answer = client.infer("iris", [tensor(ROWS, binary=binary_in)], outputs=wanted)
    assert answer.as_numpy("label").tolist() == [0, 2]
    np.testing.assert_allclose(answer.as_numpy("probabilities").sum(axis=1), [1, 1], rtol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
def test_strings(client: InferenceServerClient, *, binary: bool) -> None:
    wanted = [InferRequestedOutput("y", binary_data=binary)]
    answer = client.infer("echo", [tensor(TEXTS, "x", "BYTES", binary=binary)], outputs=wanted)
    given = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy("y").tolist()]
    assert given == TEXTS.tolist()


def test_without_named_outputs_all_come(client: InferenceServerClient) -> None:
    answer = client.infer("iris", [tensor(ROWS)])
    assert answer.as_numpy("label").tolist() == [0, 2]
    assert answer.as_numpy("probabilities").shape == (2, 3)


def test_only_the_outputs_that_are_asked_for_come(client: InferenceServerClient) -> None:
    answer = client.infer("iris", [tensor(ROWS)], outputs=[InferRequestedOutput("label")])
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["label"]


def test_a_request_id_comes_back(client: InferenceServerClient) -> None:
    answer = client.infer("iris", [tensor(ROWS)], request_id="client-7", model_version="1")
    assert answer.get_response()["id"] == "client-7"
    assert answer.get_response()["model_version"] == "1"


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_coding", [None, "gzip", "deflate"])
def test_compression(client: InferenceServerClient, request_coding: str | None, response_coding: str | None) -> None:
    codings: dict[str, Any] = {
        "request_compression_algorithm": request_coding,
        "response_compression_algorithm": response_coding,
    }
    assert client.infer("iris", [tensor(ROWS)], **codings).as_numpy("label").tolist() == [0, 2]


def test_requests_side_by_side(client: InferenceServerClient) -> None:
    requests = [client.async_infer("iris", [tensor(ROWS[[row]])], request_id=f"r{row}") for row in (0, 1, 0, 1)]
    answers = [request.get_result() for request in requests]
    assert [answer.as_numpy("label").tolist() for answer in answers] == [[0], [2], [0], [2]]
    assert [answer.get_response()["id"] for answer in answers] == ["r0", "r1", "r0", "r1"]


@pytest.mark.parametrize(
    ("model", "given", "status", "message"),
    [
        ("none", tensor(ROWS), "404", "none"),
        ("iris", tensor(ROWS[:, :3]), "400", "takes shape"),
        ("iris", tensor(ROWS, "other"), "400", "the model has no input 'other'"),
        ("iris", tensor(ROWS.astype(np.float64), kind="FP64"), "400", "takes FP32, not FP64"),
        ("iris", tensor(ROWS[:0]), "400", "row"),
    ],
)
def test_errors_are_told(
    client: InferenceServerClient, model: str, given: InferInput, status: str, message: str
) -> None:
    with pytest.raises(InferenceServerException) as refusal:
        client.infer(model, [given])
    assert refusal.value.status() == status
    assert message in refusal.value.message()


def test_the_configuration_says_what_a_batch_is(client: InferenceServerClient) -> None:
    config = client.get_model_config("iris", "1")
    assert config["max_batch_size"] > 1
    assert [(tensor["name"], tensor["data_type"], tensor["dims"]) for tensor in config["input"]] == [
        ("input", "TYPE_FP32", [4])
    ]
    with pytest.raises(InferenceServerException, match="no worker has published"):
        client.get_model_config("none")


def test_statistics_count_requests_and_rows(client: InferenceServerClient) -> None:
    def counts() -> tuple[int, int, int]:
        (entry,) = client.get_inference_statistics("iris", "1")["model_stats"]
        done = entry["inference_stats"]
        assert done["queue"]["count"] == done["compute_infer"]["count"] == done["success"]["count"]
        return entry["inference_count"], done["success"]["count"], done["fail"]["count"]

    before = counts()
    client.infer("iris", [tensor(ROWS)])
    client.infer("iris", [tensor(ROWS[:1])])
    with pytest.raises(InferenceServerException):
        client.infer("iris", [tensor(ROWS[:, :3])])
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [3, 2, 1]
    assert "iris" in [entry["name"] for entry in client.get_inference_statistics()["model_stats"]]


@pytest.mark.parametrize("binary", [True, False])
def test_classes_come_with_their_labels(client: InferenceServerClient, *, binary: bool) -> None:
    wanted = [InferRequestedOutput("probabilities", class_count=2, binary_data=binary)]
    found = client.infer("iris", [tensor(ROWS)], outputs=wanted).as_numpy("probabilities")
    assert found.shape == (2, 2)
    texts = [text.decode() if isinstance(text, bytes) else text for text in found[:, 0].tolist()]
    assert [text.split(":")[1:] for text in texts] == [["0", "setosa"], ["2", "virginica"]]


@pytest.mark.parametrize("binary", [True, False])
def test_what_is_no_number_goes_there_and_back(client: InferenceServerClient, *, binary: bool) -> None:
    odd = np.array([[np.nan, np.inf], [-np.inf, 1]], np.float32)
    wanted = [InferRequestedOutput("y", binary_data=binary)]
    answer = client.infer("numbers", [tensor(odd, "x", binary=binary)], outputs=wanted)
    np.testing.assert_array_equal(answer.as_numpy("y"), odd)


def test_what_triton_does_beside_is_answered_or_refused_in_words(client: InferenceServerClient) -> None:
    assert client.get_system_shared_memory_status() == []
    assert client.get_cuda_shared_memory_status() == []
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    assert client.get_log_settings()["log_info"] is True
    assert client.get_trace_settings()["trace_level"] == ["OFF"]
    assert client.get_trace_settings("iris")["trace_level"] == ["OFF"]
    refusals: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: client.load_model("iris"), "loaded by workers"),
        (lambda: client.unload_model("iris"), "loaded by workers"),
        (lambda: client.register_system_shared_memory("r", "/r", 8), "reads no shared memory"),
        (lambda: client.update_log_settings({"log_info": False}), "not set over HTTP"),
        (lambda: client.update_trace_settings("iris", {"trace_level": ["TENSORS"]}), "no traces"),
    )
    for refused, reason in refusals:
        with pytest.raises(InferenceServerException, match=reason):
            refused()


def test_the_client_for_asyncio(proxy: Proxy) -> None:
    async def run() -> None:
        async with aio.InferenceServerClient(proxy.url.removeprefix("http://")) as client:
            assert await client.is_model_ready("iris")
            assert (await client.get_model_config("iris"))["name"] == "iris"
            assert (await client.get_inference_statistics("iris"))["model_stats"]
            answers = await asyncio.gather(*(client.infer("iris", [tensor(ROWS[[row]])]) for row in (0, 1, 0)))
            assert [answer.as_numpy("label").tolist() for answer in answers] == [[0], [2], [0]]

    asyncio.run(run())
