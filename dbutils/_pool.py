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
from ._slots import Right, Visit
from ._waiters import Waiter

__all__ = ["Ended", "PoolCore", "Refused", "core_of"]

# After so many seconds without an answer, who waits looks for what nobody
# else has noticed: often if it is the first in turn.
_FIRST_LOOK = 0.05
_OTHER_LOOK = 0.25
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
        self._keeper = Keeper(backend, self._ledger)
        # The rights to connections that are in use without a lease.
        self._kept: dict[int, Right] = {}
        # Whether the pool was shut down.
        self.is_over = False
        follow(self)

    def begin_anew(self) -> None:
        """Be empty in a forked child; what is in use stays in the parent."""
        for visit in self._ledger.visits():
            visit.end()
        backend = self.backend
        self._ledger = Ledger(self.limits, backend.is_shareable)
        self._keeper = Keeper(backend, self._ledger)
        self._kept = {}

    @property
    def backend(self) -> Backend:
        """What the pool does with its connections."""
        return self._keeper.backend

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
        if self.is_over:
            raise Ended
        try:
            return self._acquire(connect, patience, shareable)
        except BaseException as error:
            let_go(error)
            raise

    def _acquire(
            self, connect: Callable[[], Any], patience: float | None,
            shareable: bool) -> Right:
        ledger = self._ledger
        if ledger.inbox:
            self._keeper.settle()
        visit = Visit(get_ident(), caller())
        shareable = shareable and ledger.limits.maxshared > 0
        # The short way: who begins to wait after we have seen nobody looks
        # for what is idle himself, and nobody is overtaken.
        right = None
        if not ledger.waiters:
            right = ledger.take_for(visit, shareable)
        if right is None:
            right = self._wait(Waiter(visit, shareable), patience)
        return self._keeper.ready(right, connect, visit, shareable)

    def release(self, con: Any) -> bool:
        """Take a connection back; tell whether it was in use.

        This can be called at any moment, also by a finalizer.
        """
        slot = self._keeper.place_of(con)
        right = None if slot is None else slot.right
        if right is None:
            return False
        self._kept.pop(id(con), None)
        if right.visit is None or not right.visit.end():
            return False
        if is_collecting():  # the right dies with its holder
            self._ledger.waiters.nudge()
            return True
        try:
            self._keeper.clean(right)
        except BaseException as error:
            let_go(error)
            raise
        if self._ledger.inbox:
            self._keeper.settle()
        return True

    def keep(self, right: Right) -> None:
        """Let a connection be in use until it is released explicitly."""
        self._kept[id(right.slot.con)] = right

    def leave(self, share: Right) -> None:
        """Let one of those who share a connection go, like release()."""
        if share.slot.part(share):
            self._keeper.settle()
            self._keeper.serve()

    def leave_one(self, con: Any) -> None:
        """Let the first of those who share a connection go."""
        slot = self._keeper.place_of(con)
        for share in slot.shares()[:1] if slot is not None else ():
            self.leave(share)

    def adopt(self, con: Any) -> None:
        """Take in a connection that was opened by somebody else."""
        right = self._ledger.any_place()
        right.slot.round = self._ledger.round
        right.slot.con = con
        self._keeper.put_back(right)

    def expel(self) -> Any:
        """Return the oldest idle connection, which leaves the pool.

        If no connection is idle, this is None.
        """
        self._keeper.settle()
        for right in self._ledger.all_idle():
            con = right.slot.con
            self._ledger.retire(right)
            self._keeper.serve()
            return con
        return None

    def clear(self) -> None:
        """Close all idle and all shared connections."""
        self._keeper.settle()
        ledger = self._ledger
        for right in ledger.all_idle():
            self._keeper.discard(right)
        for slot in ledger.detach():
            self._keeper.close(slot)
        self._keeper.serve()

    def drain(self) -> None:
        """Close all connections, those in use as soon as they come back."""
        self._ledger.round += 1
        self.clear()

    def shutdown(self, timeout: float | None) -> bool:
        """End everything; tell whether all connections came back in time."""
        self.is_over = True
        self.drain()
        for waiter in self._ledger.waiters.in_order():
            if waiter.give_up():
                waiter.nudge()
        pause, start = Event(), monotonic()
        while self.figures().in_use:
            if timeout is not None and monotonic() - start >= timeout:
                return False
            pause.wait(_SHORT_LOOK)
        return True

    def look_again(self) -> None:
        """Serve those who wait for a shared connection to become free."""
        self._keeper.settle()
        self._keeper.serve()

    def figures(self) -> Figures:
        """Return the state of the pool."""
        self._keeper.settle()
        return self._ledger.figures()

    def idle_connections(self) -> list[Any]:
        """Return the idle connections, the oldest first."""
        self._keeper.settle()
        return [right.slot.con for right in self._ledger.idle.copy()]

    def shared_records(self) -> list[Any]:
        """Return the records of the shared connections."""
        self._keeper.settle()
        return [slot.record for slot in self._ledger.shared.copy()]

    # The way out.

    def _wait(self, waiter: Waiter, patience: float | None) -> Right:
        """Return the place that a request is granted in its turn."""
        ledger, start = self._ledger, monotonic()
        try:
            ledger.waiters.add(waiter)
            self._keeper.serve()
            if not ledger.may_queue(waiter):
                patience = 0
            while waiter.is_waiting:
                self._wait_a_bit(waiter, patience, monotonic() - start)
        except BaseException:
            self._withdraw(waiter)
            raise
        ledger.waiters.drop(waiter)
        if waiter.right is not None:
            return waiter.right
        if self.is_over:
            raise Ended
        raise Refused(ledger.figures(), monotonic() - start, ledger.visits())

    def _wait_a_bit(
            self, waiter: Waiter, patience: float | None,
            waited: float) -> None:
        """Wait until woken up, or until it is time to look again."""
        waiters = self._ledger.waiters
        pause = _FIRST_LOOK if waiters.is_first(waiter) else _OTHER_LOOK
        if patience is not None and waited < patience:
            pause = min(pause, patience - waited)
        elif patience is not None and not self._ledger.is_coming(waiter):
            waiter.give_up()
        if self.is_over:
            waiter.give_up()
        if waiter.is_waiting and not waiter.wait(pause):
            self._keeper.settle()
            self._keeper.serve()

    def _withdraw(self, waiter: Waiter) -> None:
        """Let a request go whose wait was interrupted."""
        waiter.give_up()
        self._ledger.waiters.drop(waiter)
        if waiter.right is not None:
            self._keeper.unused(waiter.right)
        self._keeper.serve()
