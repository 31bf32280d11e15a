"""Job ids: UUID version 7 in hex, so that a job's age can be read from its id."""

import os
import time
from datetime import UTC, datetime

_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)
_RANDOM_BITS = (0xFFF << 64) | ((1 << 62) - 1)
_END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, which no datetime holds


def new_job_id() -> str:
    """Make a UUIDv7 (RFC 9562 §5.7) as 32 hex digits: 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS
    return f"{(milliseconds << 80) | _VERSION_AND_VARIANT | random_bits:032x}"


def created_ms(job_id: str) -> int | None:
    """Read the Unix milliseconds of a UUIDv7 with or without dashes; None for ids of any other kind.

    A stranger's random digits may look like one: a time that cannot be is none.
    """
    digits = job_id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7" or digits[16] not in "89abAB":
        return None
    try:
        milliseconds = int(digits[:12], 16)
    except ValueError:
        return None
    return milliseconds if milliseconds < _END_OF_TIME_MS else None


def created_at(job_id: str) -> datetime | None:
    """Read the creation time (UTC) of a UUIDv7; None for ids of any other kind."""
    milliseconds = created_ms(job_id)
    return None if milliseconds is None else from_ms(milliseconds)


def from_ms(milliseconds: int) -> datetime:
    """Turn Unix milliseconds into a UTC time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
