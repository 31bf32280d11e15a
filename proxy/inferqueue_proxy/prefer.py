"""The Prefer header (RFC 7240): whether, and how long, a client wants to wait for its job."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from inferqueue_proxy.problems import invalid

MAX_WAIT_SECONDS = 60
_number = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait for the end of a job, and how to say in the answer that it was asked for."""

    seconds: float = 0
    applied: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Vary": "Prefer"} | ({} if self.applied is None else {"Preference-Applied": self.applied})


NO_WAIT = Wait()


def read_prefer(values: Iterable[str]) -> Wait:
    """Read Prefer headers: `wait=N` in whole seconds, at most 60, and `respond-async`; others are ignored."""
    found: dict[str, str] = {}
    for preference in ",".join(values).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = found.get("wait", "")
    if wait.isascii() and wait.isdigit():
        seconds = min(int(wait[:9]), MAX_WAIT_SECONDS)
        return Wait(seconds, f"wait={seconds}")
    return Wait(0, "respond-async") if "respond-async" in found else NO_WAIT


def read_wait_parameter(value: str) -> Wait:
    """Read `?wait=N` in seconds, at most 60; raise a Problem when it is no such number."""
    seconds = float(value) if _number.fullmatch(value) else math.inf
    if not seconds < math.inf:
        raise invalid("wait", f"{value[:40]!r} is not a number of seconds from 0 to {MAX_WAIT_SECONDS}")
    return Wait(min(seconds, MAX_WAIT_SECONDS))
