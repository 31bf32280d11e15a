"""The row for memory."""

import math
from collections.abc import Sequence

from series import AtMost, Finding, NotMeasured, Row, Series

_MOST_MB = 150


def memory_row(measure: str, megabytes: Sequence[float]) -> Row:
    """Hold the peak memory of each run against the target."""
    if any(math.isnan(value) for value in megabytes):
        return NotMeasured(measure, "resident memory is read from /proc, which this system does not have")
    return Finding(measure, "MB", Series(tuple(megabytes)), AtMost(_MOST_MB))
