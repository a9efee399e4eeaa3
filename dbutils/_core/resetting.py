"""Resetting returned connections in other threads.

The crew of the housekeeper does that.  A reset that takes too long is given
up: the slot gets another connection, and the old one is closed when its
driver has answered.
"""

from __future__ import annotations

import threading
from time import monotonic
from weakref import ref

from .._base.errors import quietly
from .._base.finalizers import is_collecting
from .._base.hints import Any
from .._base.housekeeper import Task, housekeeper
from .._base.threads import is_ending
from .slots import DEAD
from .stats import Timings

__all__ = ["ResetWorkers"]

# How many connections may wait to be reset.
_BACKLOG = 20


class _Job(Task):
    """Resets a connection."""

    def __init__(
            self, reset_workers: ResetWorkers, core: Any,
            permit: Any) -> None:
        self.seconds = reset_workers.timeout
        self.done = threading.Event()
        self.permit = permit
        self._times = reset_workers.times
        self._core = core
        self._slot = permit.slot
        # The first to set the only item decides: the job, or who gives it up.
        self._outcome: dict[int, object] = {}

    def is_decided(self) -> bool:
        """Return whether the job is over."""
        return bool(self._outcome)

    def is_first(self, who: object) -> bool:
        """Decide the job; return whether it was not decided before."""
        return self._outcome.setdefault(0, who) is who

    def run(self) -> None:
        """Reset the connection, and drop its permit."""
        permit, self.permit = self.permit, None
        try:
            if self.is_decided():  # it was given up
                self._core.close(self._slot, DEAD)
            else:
                self._core.reset_here(permit, lambda: self.is_first(self))
        finally:
            self.done.set()
            del permit
            self._core.reclaim()  # if it was given up meanwhile
        if self.start is not None:
            self._times.add(monotonic() - self.start)

    def give_up(self) -> None:
        """Replace the slot, unless the reset has just ended."""
        super().give_up()
        if self.is_first(None):
            self._core.abandon(self._slot)


class ResetWorkers:
    """Reset the connections of a pool, in other threads if need be."""

    def __init__(self) -> None:
        # Whether a release does not wait for the reset, and for how many
        # seconds that may go on.
        self.is_apart = False
        self.timeout: float | None = None
        # How long the resets took that no release waited for.
        self.times = Timings()
        self.after_fork()

    def after_fork(self) -> None:
        """Forget all jobs in a forked child."""
        # The jobs that are not over, held weakly, so that none is forgotten.
        self._open: dict[int, Any] = {}

    def takes(self, core: Any, permit: Any) -> bool:
        """Return whether the reset of a connection is taken over."""
        if is_collecting() or not core.backend.needs_reset(permit.slot.con):
            return False
        if is_ending() or (not self.is_apart and self.timeout is None):
            return False
        if self.is_apart and self._count() >= _BACKLOG:
            return False
        job = _Job(self, core, permit)
        del permit
        self._open[id(job)] = ref(job)
        if not housekeeper.do(job):
            with quietly("resetting a connection"):
                job.run()  # in this thread, since there is no other
        elif not self.is_apart and not job.done.wait(self.timeout):
            job.give_up()
        return True

    def is_busy(self) -> bool:
        """Return whether there are jobs that will be over soon."""
        return self._count() > 0

    def _count(self) -> int:
        """Return the number of jobs that are not over."""
        number = 0
        for key, link in self._open.copy().items():
            job = link()
            if job is not None and not job.is_decided():
                number += 1
            elif self._open.get(key) is link:
                self._open.pop(key, None)
        return number

    def ensure(self) -> None:
        """Start a thread if there is something to do and none does it."""
        housekeeper.ensure()
