"""Clients side by side each get what their own rows give, whatever the model does with rows.

`make test` reads the graph of every model at every place and serves one at each place; `make test-long` serves all,
with 100,000 requests.
"""

import http.client
import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import orjson
import pytest
from onnx import ModelProto

from inferqueue_core.datatypes import Array
from inferqueue_worker.graph import read_rows
from inferqueue_worker.ort import onnxruntime as ort
from support.oip import json_body
from support.onnx_models import store
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.row_models import Place, RowModel, apart, joined, mixing, variants

CLIENTS = 16
# Rows together may differ from rows alone by the rounding of float32.
RTOL, ATOL = 1e-4, 1e-5

Named = tuple[str, RowModel, ModelProto]


@dataclass(frozen=True)
class Question:
    """A request, and the answer that the model gives to it alone."""

    body: bytes
    answer: Array


def _session(model: ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _questions(case: RowModel, model: ModelProto) -> list[Question]:
    session = _session(model)
    requests = case.requests()
    return [Question(json_body(request), session.run(None, request)[0]) for request in requests]


def _same(given: Array, right: Array) -> bool:
    if given.shape != right.shape:
        return False
    if right.dtype.kind == "f":
        return bool(np.allclose(given, right, rtol=RTOL, atol=ATOL, equal_nan=True))
    return bool(given.tolist() == right.tolist())


def _read(body: bytes, right: Array) -> Array:
    (output,) = orjson.loads(body)["outputs"]
    values = [math.nan if value is None else value for value in output["data"]]
    return np.array(values, dtype=right.dtype).reshape(output["shape"])


class Clients:
    """Plain clients with a connection each, who ask at the same time and know their right answers."""

    def __init__(self, proxy: Proxy) -> None:
        self._address = urlsplit(proxy.url)
        self._local = threading.local()

    def ask(self, name: str, questions: Sequence[Question], requests: int) -> Counter[str]:
        """Ask all questions in turn until there were so many requests; return how many were right, wrong or failed."""
        numbers = count()
        with ThreadPoolExecutor(CLIENTS) as pool:
            outcomes = [pool.submit(self._one, name, questions, numbers, requests) for _ in range(CLIENTS)]
        return sum((outcome.result() for outcome in outcomes), Counter[str]())

    def _one(self, name: str, questions: Sequence[Question], numbers: Iterator[int], requests: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=60)
        while (number := next(numbers)) < requests:
            # Not in step with the clients: every question stands beside every other one.
            question = questions[number * 7 % len(questions) if number % 3 else number % len(questions)]
            connection.request("POST", f"/v2/models/{name}/infer", question.body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                seen[f"failed: {answer.status} {body[:200]!r}"] += 1
            elif _same(_read(body, question.answer), question.answer):
                seen["right"] += 1
            else:
                seen[f"wrong: {body[:200]!r} instead of {question.answer.tolist()}"] += 1
        connection.close()
        return seen


def _served(
    redis: RedisServer, proxy: Proxy, folder: Path, cases: Sequence[Named], requests: int
) -> tuple[Counter[str], dict[str, bool]]:
    """Serve each model in turn under load; return what its clients saw, and which models run in batches."""
    seen: Counter[str] = Counter()
    batchable: dict[str, bool] = {}
    clients = Clients(proxy)
    for number, (title, case, model) in enumerate(cases):
        name = f"rows-{number}"
        store(folder, model, name)
        settings = {"MODEL_REPOSITORY": str(folder), "MODEL_NAME": name, "QUEUE_NAME": f"queue-{name}"}
        with Worker(redis.url, **settings) as worker:
            batchable[title] = worker.told("batchable") == "True"
            if case.repeatable:
                outcome = clients.ask(name, _questions(case, model), requests)
                seen.update({key if key == "right" else f"{title}: {key}": times for key, times in outcome.items()})
    return seen, batchable


def _one_at_each_place(cases: Sequence[RowModel]) -> Iterator[Named]:
    """Take another case for each place in the graph."""
    step = len(cases) // len(Place)
    for number, place in enumerate(Place):
        case = next(case for case in cases[number * step :] if case.repeatable and place in case.places)
        yield f"{case.name}, {place}", case, case.model(place)


@pytest.mark.parametrize("case", [*mixing(), *apart()], ids=lambda case: case.name)
def test_the_models_are_what_they_are_called(case: RowModel) -> None:
    for _, _, model in variants([case]):
        session = _session(model)
        requests = case.requests()
        answers = [session.run(None, request)[0] for request in requests]
        differs = False
        for (one, other), rights in zip(pairwise(requests), pairwise(answers), strict=True):
            both, rows = session.run(None, joined([one, other]))[0], len(one["x0"])
            differs = differs or not all(map(_same, (both[:rows], both[rows:]), rights))
        assert differs == (case in mixing())


@pytest.mark.parametrize("case", [*mixing(), *apart()], ids=lambda case: case.name)
def test_the_graph_says_what_rows_do_at_every_place(case: RowModel, tmp_path: Path) -> None:
    verdicts = {}
    for title, _, model in variants([case]):
        verdicts[title] = read_rows(store(tmp_path, model).path).verdict
    assert {*verdicts.values()} == {"mixed" if case in mixing() else "apart"}, verdicts


@pytest.mark.timeout(300)
def test_clients_of_models_whose_rows_mix_get_their_own_answers(
    lasting_redis: RedisServer, proxy: Proxy, tmp_path: Path
) -> None:
    cases = list(_one_at_each_place(mixing()))
    seen, batchable = _served(lasting_redis, proxy, tmp_path, cases, requests=96)
    assert set(seen) == {"right"}, seen
    assert not any(batchable.values()), batchable


@pytest.mark.timeout(300)
def test_models_whose_rows_do_not_mix_run_in_batches(lasting_redis: RedisServer, proxy: Proxy, tmp_path: Path) -> None:
    cases = list(_one_at_each_place(apart()))
    seen, batchable = _served(lasting_redis, proxy, tmp_path, cases, requests=96)
    assert set(seen) == {"right"}, seen
    assert all(batchable.values()), batchable


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_100_000_requests_to_all_models_at_all_places(lasting_redis: RedisServer, proxy: Proxy, tmp_path: Path) -> None:
    those_that_mix, those_that_do_not = list(variants(mixing())), list(variants(apart()))
    cases = [*those_that_mix, *those_that_do_not]
    requests = math.ceil(100_000 / sum(case.repeatable for _, case, _ in cases))
    seen, batchable = _served(lasting_redis, proxy, tmp_path, cases, requests)
    print(dict(seen))
    assert set(seen) == {"right"}
    assert seen["right"] >= 100_000
    assert [title for title, _, _ in those_that_mix if batchable[title]] == []
    assert [title for title, _, _ in those_that_do_not if not batchable[title]] == []
