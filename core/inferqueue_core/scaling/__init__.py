"""The scaling law: the fewest workers that still keep the promise, as a pure function of what is seen."""

from inferqueue_core.scaling.law import decide
from inferqueue_core.scaling.values import (
    RELEASE_SECONDS,
    Decision,
    Fleet,
    Memory,
    Objective,
    Observation,
    QueueLook,
)

__all__ = ["RELEASE_SECONDS", "Decision", "Fleet", "Memory", "Objective", "Observation", "QueueLook", "decide"]
