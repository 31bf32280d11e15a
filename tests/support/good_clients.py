"""Clients who ask again and again and know their right answers: what one hostile client does, they must not notice."""

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import orjson

from support.waiting import wait_until

HEADERS = {"Content-Type": "application/json", "Prefer": "wait=60"}


@dataclass(frozen=True)
class Question:
    """The body of a `POST /predict`, and the result that its job must have."""

    body: bytes
    result: Any


def question(model: str, data: Any, result: Any) -> Question:
    """Return the question what `model` makes of `data`."""
    return Question(orjson.dumps({"model": model, "data": data}), result)


def learned(url: str, model: str, data: Sequence[Any]) -> list[Question]:
    """Return questions whose right answers are those that a proxy gives now, while nobody else asks."""
    address, questions = urlsplit(url), []
    for value in data:
        body = orjson.dumps({"model": model, "data": value})
        document = _ask(_connect(address), body)
        questions.append(Question(body, document["result"]))
    return questions


class GoodClients:
    """Ten clients, half on one connection each, half on a new one each time; `answers` counts what they got.

    An answer is `right` when the job has ended at its first attempt with the result that it must have.
    """

    def __init__(self, url: str, questions: Sequence[Question]) -> None:
        self.answers: Counter[str] = Counter()
        self._address = urlsplit(url)
        self._questions = questions
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(10)]

    def await_right(self, more: int) -> None:
        """Return after so many more right answers."""
        before = self.answers["right"]
        wait_until(lambda: self.answers["right"] >= before + more or self._wrong, 60, "right answers of good clients")
        assert not self._wrong

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        assert not self._wrong

    @property
    def _wrong(self) -> dict[str, int]:
        return {answer: times for answer, times in self.answers.copy().items() if answer != "right"}

    def _run(self, number: int) -> None:
        connection = _connect(self._address)
        asked = number
        while not self._end.is_set():
            question = self._questions[asked % len(self._questions)]
            asked += 1
            try:
                self.answers[_judged(_ask(connection, question.body), question)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.answers[f"{type(error).__name__}: {error}"] += 1
                connection.close()
            if number % 2:
                connection.close()
        connection.close()


class Again:
    """Something done again and again in a thread of its own; `outcomes` is what each time returned or raised."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.outcomes: list[Any] = []
        self._act = act
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def await_outcomes(self, count: int) -> None:
        """Return after so many outcomes in all."""
        wait_until(lambda: len(self.outcomes) >= count, 60, "outcomes of what is done again and again")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self.outcomes.append(self._act())
            except Exception as error:  # it is for the test to judge
                self.outcomes.append(error)


def _connect(address: SplitResult) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)


def _ask(connection: http.client.HTTPConnection, body: bytes) -> Any:
    connection.request("POST", "/predict", body, HEADERS)
    return orjson.loads(connection.getresponse().read())


def _judged(document: Any, question: Question) -> str:
    right = {"status": "completed", "attempts": 1, "result": question.result}
    return "right" if right.items() <= document.items() else orjson.dumps(document).decode()[:300]
