"""The core of all pools, which knows no database.

It hands out places for connections, of which there are at most as many as
the limit says.  Requests are served in the order of their coming, and a
connection that comes back goes directly to whoever is next.

There is no lock that something slow could be done under, or that could be
left locked: what is in which hands is a matter of single, indivisible steps,
and what was dropped comes back by itself; see the module _slots.  Therefore
all this can be interrupted anywhere, by another thread, by a signal handler
that uses the same pool, or by an exception.

A finalizer that is called by the garbage collector must not talk to the
database, so that it only lets go of what it held.  Who waits looks for that
from time to time, and so does whoever comes next.
"""

from __future__ import annotations

from threading import Event, get_ident
from time import monotonic
from traceback import clear_frames
from typing import Any, Callable

from ._callers import caller
from ._collecting import is_collecting
from ._errors import Figures
from ._forks import follow
from ._keeper import Backend, Keeper
from ._ledger import Ledger, Limits
from ._outage import Elsewhere
from ._queue import Queue
from ._slots import Right, Visit
from ._upkeep import Terms, Upkeep
from ._waiters import Waiter

__all__ = ["Ended", "PoolCore", "Refused", "core_of"]

# In seconds, the time between two looks for what has come back.
_SHORT_LOOK = 0.01


class Refused(Exception):  # noqa: N818 - what happened, not an error as such
    """No connection is to be had, and the request does not wait longer."""

    def __init__(
            self, figures: Figures, waited: float,
            visits: list[Visit]) -> None:
        super().__init__(figures, waited, visits)
        self.figures = figures


class Ended(Exception):  # noqa: N818 - likewise
    """The pool was shut down."""


def core_of(pool: Any) -> Any:
    """Return the core of a pool."""
    return pool._core  # noqa: SLF001 - the one door from outside to inside


def let_go(error: BaseException) -> None:
    """Let an interrupt not hold what the functions held that it has unwound.

    As long as somebody keeps its traceback, their variables live on.
    """
    if not isinstance(error, Exception):
        clear_frames(error.__traceback__)


class PoolCore:
    """The places of a pool and the requests for them."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._ledger = Ledger(limits, backend.is_shareable)
        self.keeper = Keeper(backend, self._ledger)
        self._queue = Queue(self._ledger, self.keeper)
        # The rights to connections that are in use without a lease.
        self._kept: dict[int, Right] = {}
        follow(self)

    def begin_anew(self) -> None:
        """Be empty in a forked child; what is in use stays in the parent."""
        for visit in self._ledger.visits():
            visit.end()
        backend, upkeep = self.backend, self.keeper.upkeep
        is_over = self.is_over
        self._ledger = Ledger(self.limits, backend.is_shareable)
        if is_over:
            self._ledger.end()
        self.keeper = Keeper(backend, self._ledger)
        self.keeper.upkeep = upkeep
        self._queue = Queue(self._ledger, self.keeper)
        self._kept = {}

    def look_after(self, terms: Terms, connect: Callable[[], Any]) -> None:
        """Let connections not live for ever, and be kept ready."""
        if terms.interval is not None:
            self.keeper.upkeep = Upkeep(self, terms, connect)

    @property
    def backend(self) -> Backend:
        """What the pool does with its connections."""
        return self.keeper.backend

    @property
    def is_over(self) -> bool:
        """Whether the pool was shut down."""
        return self._ledger.is_over

    @property
    def limits(self) -> Limits:
        """How much the pool may hold."""
        return self._ledger.limits

    # The verbs of the pools.

    def acquire(
            self, connect: Callable[[], Any], patience: float | None,
            shareable: bool = False) -> Right:
        """Return the right to a connection that is ready for use.

        Raises Refused if there is none within so many seconds; None means
        to wait for as long as it takes, and Ended if the pool was shut down.
        """
        if self._ledger.is_over:
            raise Ended
        try:
            return self._acquire(connect, patience, shareable)
        except BaseException as error:
            let_go(error)
            raise

    def take_idle(self) -> Right | None:
        """Return the right to an idle connection that is ready for use.

        This is the short way, for the case that nothing has to be waited
        for, opened or brought up to date; otherwise it is None.  It relies
        on taking an item out of a deque being one step.  Who begins to wait
        after we have seen nobody looks for what is idle himself, so nobody
        is overtaken.
        """
        ledger, keeper = self._ledger, self.keeper
        if ledger.waiters.queue or ledger.inbox or (
                keeper.upkeep is not None or not ledger.idle):
            return None
        visit = Visit(get_ident(), caller(4))
        try:
            right = ledger.idle.popleft()
        except IndexError:
            return None
        try:
            keeper.backend.check(right.slot.con)
            right.slot.hand_out(right, visit)
        except BaseException as error:
            keeper.abort(right)
            let_go(error)
            raise
        return right

    def _acquire(
            self, connect: Callable[[], Any], patience: float | None,
            shareable: bool) -> Right:
        ledger = self._ledger
        shareable = shareable and ledger.limits.maxshared > 0
        deadline = monotonic() + patience if patience else None
        while True:
            visit = Visit(get_ident(), caller(5))
            if ledger.inbox:
                self.keeper.settle()
            right = None
            if not ledger.waiters.queue:
                right = ledger.take_for(visit, shareable)  # as in take_idle
            if right is None:
                right = self._wait(Waiter(visit, shareable), patience)
            try:
                return self.keeper.ready(
                    right, connect, visit, shareable, deadline)
            except Elsewhere:
                if deadline is not None:
                    patience = max(deadline - monotonic(), 0)

    def release(self, con: Any) -> bool:
        """Take a connection back; tell whether it was in use.

        This can be called at any moment, also by a finalizer.
        """
        slot = self.keeper.place_of(con)
        right = None if slot is None else slot.right
        if right is None:
            return False
        self._kept.pop(id(con), None)
        if right.visit is None or not right.visit.end():
            return False
        if is_collecting():  # the right dies with its holder
            self._ledger.waiters.nudge()
            return True
        self._take_back(right.slot.new_right())  # that of the lease is void
        return True

    def give_back(self, right: Right) -> None:
        """Take back what its only holder does not need any more."""
        if right.visit and right.visit.end():
            self._take_back(right)

    def _take_back(self, right: Right) -> None:
        try:
            self.keeper.clean(right)
        except BaseException as error:
            let_go(error)
            raise
        if self._ledger.inbox:
            self.keeper.settle()

    def keep(self, right: Right) -> None:
        """Let a connection be in use until it is released explicitly."""
        self._kept[id(right.slot.con)] = right

    def leave(self, share: Right) -> None:
        """Let one of those who share a connection go, like release()."""
        if share.slot.part(share):
            self.keeper.settle()
            self.keeper.serve()

    def leave_one(self, con: Any) -> None:
        """Let the first of those who share a connection go."""
        slot = self.keeper.place_of(con)
        for share in slot.shares()[:1] if slot is not None else ():
            self.leave(share)

    def adopt(self, con: Any) -> None:
        """Take in a connection that was opened by somebody else."""
        right = self._ledger.any_place()
        right.slot.round = self._ledger.round
        self.keeper.take_in(right.slot, con)
        self.keeper.put_back(right)

    def expel(self) -> Any:
        """Return the oldest idle connection, which leaves the pool.

        If no connection is idle, this is None.
        """
        self.keeper.settle()
        for right in self._ledger.all_idle():
            con = self.keeper.let_out(right.slot)
            self._ledger.retire(right)
            self.keeper.serve()
            return con
        return None

    def clear(self) -> None:
        """Close all idle and all shared connections."""
        self.keeper.settle()
        ledger = self._ledger
        for right in ledger.all_idle():
            self.keeper.discard(right)
        for slot in ledger.detach():
            self.keeper.close(slot)
        self.keeper.serve()

    def resize(self, maxconnections: int | None) -> None:
        """Change the limit; what is in use beyond it goes when it returns."""
        self.keeper.settle()
        for right in self._ledger.resize(maxconnections):
            self.keeper.discard(right)
        self.keeper.serve()

    def drain(self) -> None:
        """Close all connections, those in use as soon as they come back."""
        self._ledger.round += 1
        self.clear()

    def shutdown(self, timeout: float | None) -> bool:
        """End everything; tell whether all connections came back in time."""
        self._ledger.end()
        self._queue.end()
        self.drain()
        pause, start = Event(), monotonic()
        while self.figures().in_use:
            if timeout is not None and monotonic() - start >= timeout:
                return False
            pause.wait(_SHORT_LOOK)
        return True

    def look_again(self) -> None:
        """Serve those who wait for a shared connection to become free."""
        self.keeper.settle()
        self.keeper.serve()

    def visits(self) -> list[Visit]:
        """Return the visits that are going on, the oldest first."""
        return self._ledger.visits()

    def figures(self) -> Figures:
        """Return the state of the pool."""
        self.keeper.settle()
        return self._ledger.figures()

    def idle_connections(self) -> list[Any]:
        """Return the idle connections, the oldest first."""
        self.keeper.settle()
        return [right.slot.con for right in self._ledger.idle.copy()]

    def shared_records(self) -> list[Any]:
        """Return the records of the shared connections."""
        self.keeper.settle()
        return [slot.record for slot in self._ledger.shared.copy()]

    def _wait(self, waiter: Waiter, patience: float | None) -> Right:
        """Return the place that a request is granted in its turn."""
        start = monotonic()
        right = self._queue.wait(waiter, patience)
        if right is not None:
            return right
        if self.is_over:
            raise Ended
        raise Refused(
            self._ledger.figures(), monotonic() - start,
            self._ledger.visits())
