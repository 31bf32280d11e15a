"""Clients who ask again and again and know their right answers: what one hostile client does, they must not notice."""

import http.client
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import orjson

from support.crowds import Crowd
from support.onnx_models import store, unary
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


NEGATIONS = [question("neg", [[number, 1, 2, 3]], {"y": [-number, -1, -2, -3]}) for number in range(1, 20)]
"""Questions whose answers are exact in batches of any size."""


def store_negation(repository: Path) -> None:
    """Store the model that answers `NEGATIONS`."""
    store(repository, unary("Neg", ("rows", 4)), "neg")


class GoodClients(Crowd):
    """Ten clients, half on one connection each, half on a new one each time; `answers` counts what they got.

    An answer is `right` when the job has ended at its first attempt with the result that it must have.
    """

    def __init__(self, url: str, questions: Sequence[Question]) -> None:
        super().__init__(10)
        self.answers: Counter[str] = Counter()
        self._address = urlsplit(url)
        self._questions = questions

    def await_right(self, more: int) -> None:
        """Return after so many more right answers."""
        before = self.answers["right"]
        wait_until(lambda: self.answers["right"] >= before + more or self._wrong, 60, "right answers of good clients")
        assert not self._wrong, self._wrong

    @contextmanager
    def at_work(self) -> Iterator[Self]:
        """Let them ask while the block runs; fails when any of them got a wrong answer."""
        with super().at_work():
            yield self
        assert not self._wrong, self._wrong

    @property
    def _wrong(self) -> dict[str, int]:
        return {answer: times for answer, times in self.answers.copy().items() if answer != "right"}

    def work(self, number: int) -> None:
        """Ask one question after another."""
        connection = _connect(self._address)
        asked = number
        while not self.is_over:
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


class Again(Crowd):
    """One client who does something again and again; `outcomes` is what each time returned or raised."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__(1)
        self.outcomes: list[Any] = []
        self._act = act

    def await_outcomes(self, count: int) -> None:
        """Return after so many outcomes in all."""
        wait_until(lambda: len(self.outcomes) >= count, 60, "outcomes of what is done again and again")

    def work(self, number: int) -> None:
        """Do it, and keep what came of it."""
        while not self.is_over:
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
