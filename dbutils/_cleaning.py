"""Cleaning connections that have come back, off the way of who returns them.

A few threads do that, which are started when there is something to do, and
end soon after.  What takes too long is given up: the place gets another
connection, and the old one is closed when the driver lets go of it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any, Callable
from weakref import ref

from ._collecting import is_collecting
from ._counts import Tally
from ._errors import quietly

__all__ = ["Cleaner"]

# How many threads there may be, how many connections may wait for each of
# them, and for how many seconds a thread waits for more to do.
_THREADS = 4
_BACKLOG = 4
_REST = 1.0


class _Job:
    """A connection that is to be cleaned."""

    def __init__(self, keeper: Any, right: Any) -> None:
        self.keeper = keeper
        self.right = right
        self.slot = right.slot
        # By whom it is done, and since when.
        self.worker: _Worker | None = None
        self.start = 0.0
        self.done = Event()
        # Whoever sets the only item decides: who cleans it, or who gives up.
        self._outcome: dict[int, object] = {}

    def is_decided(self) -> bool:
        """Tell whether it is over."""
        return bool(self._outcome)

    def is_first(self, who: object) -> bool:
        """Tell whether it was not decided before."""
        return self._outcome.setdefault(0, who) is who

    def clean(self) -> None:
        """Do it, and let go of it."""
        right, self.right = self.right, None
        try:
            if not self.is_decided():
                self.keeper.clean_here(right, lambda: self.is_first(self))
        finally:
            self.done.set()
            del right
            self.keeper.settle()  # if it was given up meanwhile

    def give_up(self) -> None:
        """Go on without the connection, unless it has just become clean."""
        if self.is_first(None):
            if self.worker is not None:
                self.worker.is_stuck = True
            self.keeper.abandon(self.slot)


class _Worker:
    """A thread that cleans connections."""

    def __init__(self, run: Callable[[_Worker], None]) -> None:
        # Whether it was given up with what it does.
        self.is_stuck = False
        self.job: _Job | None = None
        self._thread = Thread(
            target=run, args=(self,), daemon=True, name="DBUtils cleaner")
        self.start = self._thread.start

    def is_useful(self) -> bool:
        """Tell whether it can do something."""
        return self._thread.is_alive() and not self.is_stuck

    def do(self, job: _Job) -> None:
        """Clean a connection."""
        job.worker = self
        job.start = monotonic()
        self.job = job
        try:
            with quietly("cleaning a connection"):
                job.clean()
        finally:
            self.job = None


class Cleaner:
    """Cleans the connections of a pool."""

    def __init__(self) -> None:
        # Whether who returns a connection does not wait for that, and for how
        # many seconds it may go on.
        self.is_apart = False
        self.timeout: float | None = None
        # How long it took, if that was not waited for.
        self.times = Tally()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Have nothing to do in a forked child."""
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._workers: dict[int, _Worker] = {}
        # What is not clean yet, held weakly, so that nothing is forgotten.
        self._open: dict[int, Any] = {}

    def takes(self, keeper: Any, right: Any) -> bool:
        """Take over the cleaning of a connection; tell whether it did."""
        if is_collecting() or not keeper.backend.needs_reset(right.slot.con):
            return False
        if not self.is_apart and self.timeout is None:
            return False
        if self.is_apart and self._jobs.qsize() >= _THREADS * _BACKLOG:
            return False
        job = _Job(keeper, right)
        del right
        self._open[id(job)] = ref(job)
        self._jobs.put(job)
        self._start()
        if not self.is_apart and not job.done.wait(self.timeout):
            job.give_up()
        return True

    def is_busy(self) -> bool:
        """Tell whether connections will be clean soon."""
        for key, link in self._open.copy().items():
            job = link()
            if job is not None and not job.is_decided():
                return True
            if self._open.get(key) is link:
                self._open.pop(key, None)
        return False

    def ensure(self) -> None:
        """See to it that there is a thread if there is something to do."""
        if self._jobs.qsize():
            self._start()

    def _start(self) -> None:
        """Start another thread, unless there are enough."""
        for place in range(_THREADS):
            worker = self._workers.get(place)
            if worker is not None and not worker.is_useful():
                self._workers.pop(place, None)
            elif worker is not None and worker.job is None:
                return  # it has nothing to do yet
            worker = _Worker(partial(self._run, place))
            if self._workers.setdefault(place, worker) is worker:
                self._start_at(place, worker)
                return

    def _start_at(self, place: int, worker: _Worker) -> None:
        is_started = False
        try:
            with quietly("starting to clean connections"):
                worker.start()
                is_started = True
        finally:
            if not is_started:  # as at the end of the program
                self._workers.pop(place, None)
                self._work_off(worker)

    def _run(self, place: int, worker: _Worker) -> None:
        while not worker.is_stuck:
            try:
                job = self._jobs.get(timeout=_REST)
            except Empty:
                break
            self._do(worker, job)
            del job
        if self._workers.get(place) is worker:
            self._workers.pop(place, None)
        if self._jobs.qsize():  # something came at the last moment
            self._start()

    def _do(self, worker: _Worker, job: _Job) -> None:
        worker.do(job)
        self.times.add(monotonic() - job.start)

    def _work_off(self, worker: _Worker) -> None:
        """Do what there is to do in this thread."""
        with suppress(Empty):
            while True:
                self._do(worker, self._jobs.get_nowait())

    def give_up_slow_ones(self) -> None:
        """Go on without the connections that take too long."""
        timeout = self.timeout
        for worker in self._workers.copy().values():
            job = worker.job
            if job is not None and timeout is not None and (
                    monotonic() - job.start >= timeout):
                job.give_up()
