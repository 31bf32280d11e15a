"""How jobs ended is stored: in calls of bounded size, and whatever Redis says of one job's result."""

import logging
from collections.abc import Callable, Iterator, Sequence

from inferqueue_core.errors import QueueRefusedError
from inferqueue_core.jobs import Completed, Ending, Failed, FinishOutcome
from inferqueue_core.refusals import LEAST_BYTES

logger = logging.getLogger(__name__)

Store = Callable[[Sequence[Ending]], list[FinishOutcome]]
"""Stores endings in one call; raises QueueRefusedError when they are too much for it."""

# Redis takes 1 GiB in one call (client-query-buffer-limit), and serves nobody else while it copies it.
PORTION_BYTES = 16_777_216


def finish(store: Store, endings: Sequence[Ending]) -> list[tuple[Ending, FinishOutcome]]:
    """Store endings and return what became of each; a result that Redis refuses fails its job, and no other one.

    Those that it may refuse for their size come last: no other job waits until that is found out.
    """
    stored: list[tuple[Ending, FinishOutcome]] = []
    for portion in _portions_small_first(endings):
        try:
            stored += zip(portion, store(portion), strict=True)
        except QueueRefusedError as refusal:
            stored += _finish_refused(store, portion, refusal)
    return stored


def _portions_small_first(endings: Sequence[Ending]) -> Iterator[list[Ending]]:
    small: list[Ending] = []
    large: list[Ending] = []
    for ending in endings:
        (small if size_of(ending) < LEAST_BYTES else large).append(ending)
    yield from portions(small, PORTION_BYTES)
    yield from portions(large, PORTION_BYTES)


def portions(endings: Sequence[Ending], most_bytes: int) -> Iterator[list[Ending]]:
    """Cut endings into pieces of at most `most_bytes` together; a larger one is a piece of its own."""
    portion: list[Ending] = []
    size = 0
    for ending in endings:
        added = size_of(ending)
        if portion and size + added > most_bytes:
            yield portion
            portion, size = [], 0
        portion.append(ending)
        size += added
    if portion:
        yield portion


def size_of(ending: object) -> int:
    """Return the bytes of an ending's result; 0 where it has no result."""
    return len(ending.result) if isinstance(ending, Completed) else 0


def _finish_refused(
    store: Store, endings: Sequence[Ending], refusal: QueueRefusedError
) -> list[tuple[Ending, FinishOutcome]]:
    if len(endings) > 1:
        return [pair for ending in endings for pair in finish(store, [ending])]
    (ending,) = endings
    if not isinstance(ending, Completed):
        raise refusal
    logger.error("Redis refused a result", extra={"job_id": ending.job.id, "reason": str(refusal)})
    failure = Failed(
        ending.job,
        f"the result is too large for Redis: it has refused {len(ending.result):,} bytes although it answers; ask for "
        "fewer outputs or rows, or raise its limits (proto-max-bulk-len, client-query-buffer-limit)",
    )
    return list(zip([failure], store([failure]), strict=True))
