"""Clients at work beside a test."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self


class Crowd(ABC):
    """So many clients, each in a thread of its own, for as long as the block of `at_work` runs."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._end = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether clients are to begin nothing more."""
        return self._end.is_set()

    @contextmanager
    def at_work(self) -> Iterator[Self]:
        """Let the clients begin; when the block ends they end, and what one of them could not cope with is raised."""
        with ThreadPoolExecutor(self._count) as pool:
            clients = [pool.submit(self.work, number) for number in range(self._count)]
            try:
                yield self
            finally:
                self._end.set()
            for client in clients:
                client.result()

    @abstractmethod
    def work(self, number: int) -> None:
        """Do what one client does, until it is over."""
