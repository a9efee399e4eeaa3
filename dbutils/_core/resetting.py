"""Cleaning connections that have come back, off the way of who returns them.

The crew of the housekeeper does that.  What takes too long is given up: the
place gets another connection, and the old one is closed when the driver lets
go of it.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any
from weakref import ref

from .._base.collecting import is_collecting
from .._base.errors import quietly
from .._base.housekeeper import Task, housekeeper
from .._base.threads import is_ending
from .counts import Timings

__all__ = ["ResetWorkers"]

# How many connections may wait to be cleaned.
_BACKLOG = 20


class _Job(Task):
    """A connection that is to be cleaned."""

    def __init__(
            self, reset_workers: ResetWorkers, keeper: Any, permit:
            Any) -> None:
        self.seconds = reset_workers.timeout
        self.done = threading.Event()
        self.permit = permit
        self._times = reset_workers.times
        self._keeper = keeper
        self._slot = permit.slot
        # Whoever sets the only item decides: who cleans it, or who gives up.
        self._outcome: dict[int, object] = {}

    def is_decided(self) -> bool:
        """Tell whether it is over."""
        return bool(self._outcome)

    def is_first(self, who: object) -> bool:
        """Tell whether it was not decided before."""
        return self._outcome.setdefault(0, who) is who

    def run(self) -> None:
        """Do it, and let go of it."""
        permit, self.permit = self.permit, None
        try:
            if not self.is_decided():
                self._keeper.clean_here(permit, lambda: self.is_first(self))
        finally:
            self.done.set()
            del permit
            self._keeper.reclaim()  # if it was given up meanwhile
        if self.start is not None:
            self._times.add(monotonic() - self.start)

    def give_up(self) -> None:
        """Go on without the connection, unless it has just become clean."""
        super().give_up()
        if self.is_first(None):
            self._keeper.abandon(self._slot)


class ResetWorkers:
    """Cleans the connections of a pool."""

    def __init__(self) -> None:
        # Whether who returns a connection does not wait for that, and for how
        # many seconds it may go on.
        self.is_apart = False
        self.timeout: float | None = None
        # How long it took, if that was not waited for.
        self.times = Timings()
        self.after_fork()

    def after_fork(self) -> None:
        """Have nothing to do in a forked child."""
        # What is not clean yet, held weakly, so that nothing is forgotten.
        self._open: dict[int, Any] = {}

    def takes(self, keeper: Any, permit: Any) -> bool:
        """Take over the cleaning of a connection; tell whether it did."""
        if is_collecting() or not keeper.backend.needs_reset(permit.slot.con):
            return False
        if is_ending() or (not self.is_apart and self.timeout is None):
            return False
        if self.is_apart and self._count() >= _BACKLOG:
            return False
        job = _Job(self, keeper, permit)
        del permit
        self._open[id(job)] = ref(job)
        if not housekeeper.do(job):
            with quietly("cleaning a connection"):
                job.run()  # in this thread, since there is no other
        elif not self.is_apart and not job.done.wait(self.timeout):
            job.give_up()
        return True

    def is_busy(self) -> bool:
        """Tell whether connections will be clean soon."""
        return self._count() > 0

    def _count(self) -> int:
        """Return how many connections will be clean soon."""
        number = 0
        for key, link in self._open.copy().items():
            job = link()
            if job is not None and not job.is_decided():
                number += 1
            elif self._open.get(key) is link:
                self._open.pop(key, None)
        return number

    def ensure(self) -> None:
        """See to it that there is a thread if there is something to do."""
        housekeeper.ensure()
