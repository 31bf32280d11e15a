"""Starts the programs, keeps them running, and ends them in order. All of it happens in one thread, in `tick`."""

import signal
import time
from collections.abc import Callable, Iterator

from inferqueue.up import autoscaler
from inferqueue.up.autoscaler import Autoscaler, Verdict
from inferqueue.up.child import Child
from inferqueue.up.errors import StartError, StopRequested
from inferqueue.up.programs import Programs
from inferqueue.up.screen import Screen
from inferqueue_core.scaling import Fleet

TICK_SECONDS = 0.05


class Stop:
    """Counts the wishes to stop: the first Ctrl-C, SIGTERM or SIGHUP drains, one more ends everything at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.drain = False
        self.now = False
        self._asked_at = 0.0

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.ask())

    def ask(self) -> None:
        # One key press may arrive twice: from the terminal, and from whatever runs this program.
        if self.drain and self._clock() - self._asked_at > 0.3:
            self.now = True
        if not self.drain:
            self.drain, self._asked_at = True, self._clock()


class Supervisor:
    """The programs of one machine; `stop` is looked at while waiting."""

    def __init__(self, programs: Programs, screen: Screen, stop: Stop) -> None:
        self._programs = programs
        self._screen = screen
        self._stop = stop
        self._redis: Child | None = None
        self._proxy: Child | None = None
        self._workers: list[Child] = []
        self._leaving: list[Child] = []
        self._worker_number = 0
        self._serving = False
        self._autoscaler = programs.autoscaler()
        self._scale_at = 0.0
        self._known_starts: set[Child] = set()

    @property
    def address(self) -> str:
        """Where the proxy listens."""
        assert self._proxy is not None
        assert self._proxy.ready_line is not None
        return str(self._proxy.ready_line.fields["address"])

    def start(self, workers: int) -> None:
        """Start everything and return when it serves; raise StartError when a part ends instead, or StopRequested."""
        self._redis = self._programs.redis()
        if self._redis is not None:
            self._redis.start()
            self._await_start(self._programs.redis_answers)
        self._programs.check_redis()
        self._proxy = self._programs.proxy()
        self._proxy.start()
        self.scale_to(workers)
        self._await_start(lambda: all(child.ready_line for child in self._children()))
        # A proxy that is started again must be found where it was.
        self._proxy.environment["PORT"] = self.address.rpartition(":")[2]
        self._serving = True

    def scale_to(self, workers: int) -> None:
        """Start or end workers until there are so many; one that ends, the newest first, finishes what it holds."""
        while len(self._workers) < workers:
            self._worker_number += 1
            worker = self._programs.worker(self._worker_number)
            self._workers.append(worker)
            worker.start()
        self._end_workers(self._workers[workers:])

    def run(self) -> None:
        """Look after everything until a stop is asked for."""
        while not self._stop.drain:
            self.tick()
            if self._autoscaler is not None and time.monotonic() >= self._scale_at:
                self._scale_at = time.monotonic() + autoscaler.TICK_SECONDS
                self._autoscale(self._autoscaler)
            time.sleep(TICK_SECONDS)

    def _autoscale(self, scaler: Autoscaler) -> None:
        """Ask the law how many workers there should be, start those missing, and end idle ones alone."""
        before = len(self._workers)
        verdict = scaler.decide(self._fleet())
        if verdict.decision.desired < before:
            self._end_workers(self._spare(scaler, verdict))
        else:
            self.scale_to(verdict.decision.desired)
        if len(self._workers) != before:
            self._screen.event(f"{before} → {len(self._workers)} workers: {verdict.decision.message}")
        scaler.tell(verdict, len(self._workers))

    def _spare(self, scaler: Autoscaler, verdict: Verdict) -> list[Child]:
        """Choose workers to end: those that are not ready yet, then the newest that hold nothing and now never will."""
        count = len(self._workers) - verdict.decision.desired
        newest = self._workers[::-1]
        starting = [worker for worker in newest if worker.ready_line is None][:count]
        names = {worker.environment["WORKER_NAME"]: worker for worker in newest if worker.ready_line is not None}
        idle = [name for name in names if name in verdict.idle][: count - len(starting)]
        return starting + [names[name] for name in scaler.retire(idle)]

    def _fleet(self) -> Fleet:
        ready = [worker for worker in self._workers if worker.ready_line is not None]
        fresh = [worker for worker in ready if worker not in self._known_starts]
        self._known_starts = set(ready)
        return Fleet(
            len(self._workers),
            len(ready),
            tuple(worker.age for worker in self._workers if worker.ready_line is None),
            tuple(worker.ready_seconds for worker in fresh if worker.ready_seconds is not None),
        )

    def _end_workers(self, workers: list[Child]) -> None:
        for worker in workers:
            self._workers.remove(worker)
            worker.send(signal.SIGTERM)
            self._leaving.append(worker)

    def tick(self) -> None:
        """Pass on what the programs have to say, and start again what has ended."""
        for child in self._children():
            self._listen(child)
            if child in self._leaving:
                child.reap()
                if not child.is_running:
                    self._leaving.remove(child)
            else:
                self._keep_running(child)

    def drain(self) -> bool:
        """End everything in order, so that nothing is lost; give False when it was ended at once instead."""
        if self._autoscaler is not None:
            self._autoscaler.save()
        self._leaving += self._workers
        self._workers = []
        stages = [self._leaving, [self._proxy] if self._proxy else [], [self._redis] if self._redis else []]
        for children in stages:
            for child in children:
                child.send(signal.SIGTERM)  # Redis takes it as SHUTDOWN: it syncs its AOF and ends
            self._screen.progress(f"Stopping {_names(children)} (Ctrl-C again ends everything at once)")
            if not self._ended(children):
                self.kill()
                return False
        return True

    def kill(self) -> None:
        """End everything at once. The queue stays whole: Redis hands each write to the system before it answers."""
        for child in self._children():
            child.send(signal.SIGKILL)
        for child in self._children():
            while child.is_running:
                child.reap()
                time.sleep(0.01)

    def _children(self) -> Iterator[Child]:
        first = [child for child in (self._redis, self._proxy) if child is not None]
        return iter([*first, *self._workers, *self._leaving])

    def _listen(self, child: Child) -> None:
        for line in child.read_log():
            if line.is_loud and self._serving and child is not self._redis:
                self._screen.event(f"{child.name}: {line.text}")

    def _keep_running(self, child: Child) -> None:
        how = child.reap()
        if how is not None:
            self._listen(child)
            if not self._serving:
                raise StartError(
                    f"{child.name} {how} before it was ready. Its log, {child.log.path}, ends so:\n{child.log.tail()}"
                )
            delay = child.plan_restart()
            why = f" ({child.last_loud})" if child.last_loud else ""
            self._screen.event(f"{child.name} {how}{why}; starting it again in {delay:g} s")
        if child.restart_at is not None and time.monotonic() >= child.restart_at:
            child.start()

    def _await_start(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            missing = [child.name for child in self._children() if child.ready_line is None]
            self._screen.progress(f"Starting {', '.join(missing) or 'Redis'}")
            if self._stop.drain:
                raise StopRequested
            self.tick()
            time.sleep(TICK_SECONDS)

    def _ended(self, children: list[Child]) -> bool:
        """Wait until all of `children` have ended; False as soon as everything is to end at once."""
        while any(child.is_running for child in children):
            if self._stop.now:
                return False
            for child in children:
                child.read_log()
                child.reap()
            if self._redis is not None and self._redis not in children:
                self._keep_running(self._redis)
            time.sleep(TICK_SECONDS)
        return True


def _names(children: list[Child]) -> str:
    if len(children) > 1:
        return f"{len(children)} workers: they finish what they hold"
    return children[0].name if children else "nothing"
