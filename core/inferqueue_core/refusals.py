"""Calls that Redis refuses although it answers: unlike an outage they do not pass."""

from collections.abc import Callable

import redis

from inferqueue_core.errors import QueueRefusedError

TRIES = 3
# No server or proxy before one refuses less for its size; a call of fewer bytes that fails is met with patience.
LEAST_BYTES = 262_144
_BROKEN = (redis.ConnectionError, redis.TimeoutError, OSError)


class Refusals:
    """Counts how often in a row the connection broke during one call of `size()` bytes although Redis answers.

    A server closes the connection on a value that is too large for it while that is still being sent, so that its
    reason is lost and the client sees the same as in an outage.
    """

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._count = 0

    def may_hold(self, error: Exception) -> bool:
        """Tell whether a failure of the call may be a refusal, so that it is worth asking whether Redis answers."""
        return isinstance(error, _BROKEN) and self._size() >= LEAST_BYTES

    def count(self, error: Exception, *, answers: bool) -> None:
        """Count such a failure; raise QueueRefusedError at the TRIES-th in a row that is no outage."""
        self._count = self._count + 1 if answers else 0
        if self._count == TRIES:
            raise QueueRefusedError(
                f"Redis answers, but has refused a call of {self._size():,} bytes {TRIES} times: {error}"
            ) from error
