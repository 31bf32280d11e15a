"""What the law learns from looks at a queue: arrival rate, service rate and cold start."""

from dataclasses import replace

from inferqueue_core.scaling.values import (
    FIRST_COLD_START,
    FIRST_SERVICE_RATE,
    Fleet,
    Memory,
    QueueLook,
)

# Two windows: an arrival rate counts only when both have seen it, so that one burst does not look like a steady flow.
SHORT_WINDOW = 15.0
LONG_WINDOW = 60.0
# The service rate is that of about the last 1,000 jobs: fewer, and a few slow ones among them would look like a slow
# model. One that was learned at another time counts for fewer, so that what is seen now soon outweighs it.
_REMEMBERED_JOBS = 1000.0
_TOLD_JOBS = 200.0
# Less time than this is rounding.
_LEAST_BUSY = 1e-6
_KEPT_COLD_STARTS = 20


def learn(memory: Memory, now: float, look: QueueLook, fleet: Fleet) -> Memory:
    """Take one look into the memory; counts too old to say how fast jobs arrive now are forgotten first."""
    memory = rebase(memory, now)
    if memory.counts and now - memory.counts[-1][0] > LONG_WINDOW:
        memory = replace(memory, counts=(), last_look=None)
    last = memory.last_look
    arrived = memory.arrived + (0.0 if last is None else _arrivals(last, look))
    counts = _thin(memory.counts, now, arrived)
    last_arrival = now if last is None or arrived > memory.arrived else memory.last_arrival
    quiet = look.queued == 0 and look.in_flight == 0
    quiet_since = None if not quiet else now if memory.quiet_since is None else memory.quiet_since
    return replace(
        _learn_service(memory, last, look),
        counts=counts,
        arrived=arrived,
        last_arrival=last_arrival,
        last_look=replace(look, ages=(), held=()),
        quiet_since=quiet_since,
        blind_since=None,
        cold_starts=(*memory.cold_starts, *fleet.cold_starts)[-_KEPT_COLD_STARTS:],
        ready_once=memory.ready_once or fleet.ready > 0,
    )


def rebase(memory: Memory, now: float) -> Memory:
    """Move a memory that ends after `now` back to it: the clock was set back, or another machine's ran ahead.

    What was remembered would count as the future otherwise: peaks that never pass, rates over no time at all.
    """
    times = [at for at, _ in (*memory.peaks[-1:], *memory.counts[-1:])]
    times += [at for at in (memory.last_arrival, memory.quiet_since, memory.blind_since) if at is not None]
    ahead = max(times, default=now) - now
    if ahead <= 0:
        return memory

    def earlier(moment: float | None) -> float | None:
        return None if moment is None else moment - ahead

    return replace(
        memory,
        peaks=tuple((at - ahead, peak) for at, peak in memory.peaks),
        counts=tuple((at - ahead, count) for at, count in memory.counts),
        last_arrival=earlier(memory.last_arrival),
        quiet_since=earlier(memory.quiet_since),
        blind_since=earlier(memory.blind_since),
    )


def _arrivals(last: QueueLook, look: QueueLook) -> float:
    """Count arrivals between two looks: by the counter, or by what must have come to explain what is there and gone.

    Producers that push by hand do not count; workers that pop by hand do not count either, and then this is too low.
    """
    counted = look.submitted - last.submitted
    explained = (look.queued + look.in_flight + look.ended) - (last.queued + last.in_flight + last.ended)
    return float(max(0, counted, explained))


def _thin(counts: tuple[tuple[float, float], ...], now: float, arrived: float) -> tuple[tuple[float, float], ...]:
    """Keep one count a second, back to the first one older than the long window."""
    kept = [*counts]
    if not kept or now - kept[-1][0] >= 0.999:
        kept.append((now, arrived))
    while len(kept) > 1 and kept[1][0] <= now - LONG_WINDOW:
        kept.pop(0)
    return tuple(kept)


def arrival_rate(memory: Memory, now: float) -> float:
    """Give the jobs a second that have kept arriving: the smaller of the rates over the last 15 s and 60 s."""
    return min(_rate_over(memory, now, SHORT_WINDOW), _rate_over(memory, now, LONG_WINDOW))


def _rate_over(memory: Memory, now: float, window: float) -> float:
    start = now - window
    before = (0.0, 0.0)
    for moment, count in memory.counts:
        if moment > start:
            break
        before = (moment, count)
    else:
        before = memory.counts[-1] if memory.counts else before
    if before == (0.0, 0.0) and memory.counts:
        before = memory.counts[0]
    return (memory.arrived - before[1]) / window


def _learn_service(memory: Memory, last: QueueLook | None, look: QueueLook) -> Memory:
    """Average jobs per busy second over the jobs done, times the runners of a worker."""
    if last is None:
        jobs, seconds = look.jobs_done, look.busy_seconds
    else:
        # A worker that left takes its counts along: the sums fall, and this look teaches nothing.
        jobs, seconds = look.jobs_done - last.jobs_done, look.busy_seconds - last.busy_seconds
    if jobs <= 0 or seconds < _LEAST_BUSY:
        return memory
    known, each = 0.0, seconds / look.runners / jobs
    if memory.service_rate is not None:
        known = _TOLD_JOBS if memory.service_jobs is None else memory.service_jobs
        # Times add up, rates do not: the mean is taken of seconds per job.
        each = (known / memory.service_rate + seconds / look.runners) / (known + jobs)
    return replace(memory, service_rate=1 / each, service_jobs=min(known + jobs, _REMEMBERED_JOBS))


def service_rate(memory: Memory) -> float:
    """Give the jobs a second of one worker: learned, or the first guess."""
    return memory.service_rate or FIRST_SERVICE_RATE


def cold_start(memory: Memory) -> float:
    """Give the 90th percentile of the last learned cold starts in seconds, or the best guess."""
    if not memory.cold_starts:
        return memory.assumed_cold_start or FIRST_COLD_START
    ordered = sorted(memory.cold_starts)
    return ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
