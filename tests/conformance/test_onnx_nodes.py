"""Every ONNX operator test that bare ONNX Runtime passes gives the same values through proxy, Redis and worker."""

import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import redis
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.case.test_case import TestCase

from inferqueue_core.connection import connect
from inferqueue_core.datatypes import Array, from_dtype
from inferqueue_core.json_tensors import json_values
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from inferqueue_worker.activity import Activity
from inferqueue_worker.errors import ModelLoadError
from inferqueue_worker.execution import BatchExecutor
from inferqueue_worker.held import HeldJobs
from inferqueue_worker.metrics import WorkerMetrics
from inferqueue_worker.ort import onnxruntime as ort
from inferqueue_worker.peers import Peers
from inferqueue_worker.results import ResultWriter
from inferqueue_worker.runner import ClaimBudget, Runner, Turns
from inferqueue_worker.served_model import ServedModel, load_model
from inferqueue_worker.strays import Strays
from support.oip import assert_same, binary_body, json_body, read_outputs
from support.onnx_models import store
from support.waiting import wait_until

# How many cases of each part must at least pass (all 1,574 with onnx 1.23 and ONNX Runtime 1.32): a newer version may
# add some, none may be lost unseen.
LEAST_OF_PART = (194, 199, 196, 195, 199, 191, 192, 192)
AT_ONCE = 24

Value = Array | list[Any]


@dataclass(frozen=True)
class Checked:
    """A case that bare ONNX Runtime passes: its feeds, and the values that it gave, by output name."""

    name: str
    model: bytes
    feeds: dict[str, Array]
    expected: dict[str, Value]


@dataclass(frozen=True)
class Served:
    """A checked case, loaded and published under its name, on a queue of its own."""

    case: Checked
    model: ServedModel
    queue: RedisJobQueue


@cache
def all_cases() -> list[TestCase]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators compute with overflow and NaN on purpose
        return sorted(collect_testcases(None), key=lambda case: case.name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("part", "least"), list(enumerate(LEAST_OF_PART)))
def test_node_cases_come_through_unchanged(
    part: int, least: int, tmp_path: Path, http: httpx.Client, redis_settings_of_proxy: RedisSettings
) -> None:
    left_out: Counter[str] = Counter()
    passed: list[str] = []
    wrong: dict[str, str] = {}
    client = connect(redis_settings_of_proxy)
    with ThreadPoolExecutor(2 * AT_ONCE) as senders:
        for group in _in_groups(all_cases()[part :: len(LEAST_OF_PART)], left_out):
            served = _publish(group, tmp_path, client, http, left_out)
            for name, error in _answers(served, http, senders):
                if error is None:
                    passed.append(name)
                else:
                    wrong[name] = error
            client.hdel("models", *(f"{one.case.name}/1" for one in served))
    print(f"part {part}: {len(passed)} cases pass; left out: {dict(left_out)}")
    assert wrong == {}
    assert len(passed) >= least


def _in_groups(cases: Sequence[TestCase], left_out: Counter[str]) -> Iterator[list[Checked]]:
    group: list[Checked] = []
    for case in cases:
        found = _check(case)
        if isinstance(found, str):
            left_out[found] += 1
            continue
        group.append(found)
        if len(group) == AT_ONCE:
            yield group
            group = []
    yield group


def _check(case: TestCase) -> Checked | str:
    """Run a case on bare ONNX Runtime; give the reason when it does not pass there."""
    assert case.model is not None
    assert case.data_sets is not None
    model = case.model.SerializeToString()
    ((given, wanted),) = case.data_sets
    inputs, expected = [_as_arrays(value) for value in given], [_as_arrays(value) for value in wanted]
    names = [value.name for value in case.model.graph.input]
    feeds = dict(zip(names, inputs, strict=False))
    if not all(isinstance(value, np.ndarray) for value in feeds.values()):
        return "an input is a sequence or an optional"
    if not all(from_dtype(array.dtype) for array in feeds.values()):
        return "the protocol lacks a type of it"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception:
        return "bare ONNX Runtime does not load it"
    try:
        values = session.run(None, feeds)
    except Exception:
        return "bare ONNX Runtime does not run it"
    try:
        for value, right in zip(values, expected, strict=True):
            _compare_with_onnx(value, right, case)
    except (AssertionError, TypeError, ValueError):
        return "bare ONNX Runtime gives other values than ONNX"
    outputs = [output.name for output in session.get_outputs()]
    return Checked(case.name, model, feeds, dict(zip(outputs, values, strict=True)))


def _as_arrays(value: Any) -> Any:
    """Give a value of a case, a scalar or tensor message too, as an array; lists stay lists of them."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list):
        return [_as_arrays(element) for element in value]
    return np.asarray(value) if isinstance(value, np.generic) else value


def _compare_with_onnx(value: Any, wanted: Any, case: TestCase) -> None:
    if isinstance(wanted, list):
        for one, other in zip(value, wanted, strict=True):
            _compare_with_onnx(one, other, case)
    elif wanted.dtype.kind in "OU":
        np.testing.assert_array_equal(value, wanted)
    else:
        assert value.dtype == wanted.dtype
        assert value.shape == wanted.shape
        np.testing.assert_allclose(value, wanted, rtol=case.rtol, atol=case.atol)


def _publish(
    group: Sequence[Checked], folder: Path, client: redis.Redis, http: httpx.Client, left_out: Counter[str]
) -> list[Served]:
    """Load each model as a worker does and publish it; return when the proxy knows them all."""
    served = []
    for slot, case in enumerate(group):
        try:
            model = load_model(store(folder, case.model, case.name), None, 1)
        except ModelLoadError as error:
            if "can carry" not in str(error) and "cannot carry" not in str(error):
                raise
            left_out["the protocol lacks a type of it"] += 1
            continue
        queue = RedisJobQueue(client, f"slot-{slot}", QueuePolicy())
        queue.publish_model(model.info(f"slot-{slot}"))
        served.append(Served(case, model, queue))
    for one in served:
        wait_until(lambda name=one.case.name: http.get(f"/v2/models/{name}/ready").status_code == 200)  # type: ignore[misc]
    return served


def _answers(
    served: Sequence[Served], http: httpx.Client, senders: ThreadPoolExecutor
) -> Iterator[tuple[str, str | None]]:
    """Send each case in JSON and raw, run the worker's loop on it, and compare; gives what was wrong, or None."""
    sent = [(one, _send(one.case, http, senders)) for one in served]
    for one, requests in sent:
        wait_until(lambda one=one, requests=requests: _all_arrived(one, requests))  # type: ignore[misc]
        _runner(one).run(until_empty=True)
    for one, requests in sent:
        yield one.case.name, _difference(one, [request.result() for request in requests])


def _all_arrived(served: Served, requests: Sequence[Future[httpx.Response]]) -> bool:
    """Tell whether each request waits in the queue, or was refused."""
    refused = sum(request.done() for request in requests)
    return served.queue.observe().length + refused == len(requests)


def _send(case: Checked, http: httpx.Client, senders: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    path = f"/v2/models/{case.name}/infer"
    raw, headers = binary_body(case.feeds)
    return [
        senders.submit(http.post, path, content=json_body(case.feeds), headers={"Content-Type": "application/json"}),
        senders.submit(http.post, path, content=raw, headers=headers),
    ]


def _runner(served: Served) -> Runner:
    info = served.model.info(served.queue.keys.queue_name)
    held, metrics = HeldJobs(), WorkerMetrics()
    executor = BatchExecutor(served.model, ResultWriter(info), held, metrics, 60, lambda: 0.0, served.model.pace())
    budget = ClaimBudget(1 << 30, 1)
    peers = Peers("worker", info)
    return Runner(
        served.queue,
        "worker",
        info,
        executor,
        budget,
        held,
        Activity(),
        metrics,
        threading.Event(),
        Turns(),
        lambda: None,
        peers,
        Strays(info, peers, metrics),
    )


def _difference(served: Served, answers: Sequence[httpx.Response]) -> str | None:
    for kind, answer in zip(("JSON", "raw"), answers, strict=True):
        try:
            outputs = read_outputs(answer)
            assert list(outputs) == list(served.case.expected)
            for name, value in served.case.expected.items():
                assert_same(outputs[name], _as_tensor(value))
        except AssertionError as error:
            return f"{kind}: {error}"
    return None


def _as_tensor(value: Value) -> Array:
    """Give a sequence as it travels: one JSON text for each element."""
    if isinstance(value, np.ndarray):
        return value
    texts = np.empty(len(value), dtype=object)
    texts[:] = [orjson.dumps(json_values(np.asarray(element))).decode() for element in value]
    return texts
