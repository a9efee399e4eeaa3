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

import threading
from time import monotonic
from typing import Any, Callable

from .._base.collecting import is_collecting
from .._base.errors import Figures, late_text, let_go
from .._base.fork import follow
from .._base.mutex import Mutex
from .._base.opening import Elsewhere, Late
from .keeper import Backend, Keeper, Observer
from .lease import hand_over
from .ledger import Ledger, Limits
from .maintenance import Terms, Upkeep
from .quotas import Claim, Gate
from .resetting import Cleaner
from .slots import Right, Visit, Visitor, end, new_visit, visitor_of
from .waiters import Waiter
from .waiting import Queue

__all__ = ["Ended", "PoolCore", "Refused", "core_of"]

# In seconds, the time between two looks for what has come back.
_SHORT_LOOK = 0.01
# By how many calls a program and the beginning of its visit are apart, at
# least.
_DEPTH = 3


class Refused(Exception):  # noqa: N818 - what happened, not an error as such
    """No connection is to be had, and the request does not wait longer."""

    def __init__(
            self, figures: Figures, waited: float, visitors: list[Visitor],
            reason: str | None, ages: list[float]) -> None:
        """Note all that the error of the pool is to tell."""
        super().__init__(figures, waited, visitors, reason, ages)
        self.figures = figures


class Ended(Exception):  # noqa: N818 - likewise
    """The pool was shut down."""


def core_of(pool: Any) -> Any:
    """Return the core of a pool."""
    return pool._core  # noqa: SLF001 - the one door from outside to inside


class _Books:
    """What is to be read about a pool."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self.ledger = Ledger(limits, backend.is_shareable)
        self.keeper = Keeper(backend, self.ledger)

    @property
    def backend(self) -> Backend:
        """What the pool does with its connections."""
        return self.keeper.backend

    @property
    def is_over(self) -> bool:
        """Whether the pool was shut down."""
        return self.ledger.is_over

    @property
    def limits(self) -> Limits:
        """How much the pool may hold."""
        return self.ledger.limits

    def visitors(self) -> list[Visitor]:
        """Return who uses connections, the one who came first first."""
        visitors = filter(None, map(visitor_of, self.ledger.visits()))
        return sorted(visitors, key=lambda visitor: visitor.since)

    def figures(self) -> Figures:
        """Return the state of the pool."""
        self.keeper.settle()
        return self.ledger.figures()

    def idle_connections(self) -> list[Any]:
        """Return the idle connections, the oldest first."""
        self.keeper.settle()
        return [right.slot.con for right in self.ledger.idle.copy()]

    def shared_records(self) -> list[Any]:
        """Return the records of the shared connections."""
        self.keeper.settle()
        return [slot.record for slot in self.ledger.shared.copy()]


class _Rules(_Books):
    """What can be changed while a pool is at work."""

    def __init__(
            self, backend: Backend, limits: Limits, is_short: bool) -> None:
        super().__init__(backend, limits)
        # How many seconds a request waits if it does not say that itself;
        # None means for as long as it takes.
        self.patience: float | None = None
        # Who measures how long it takes, and what says when to do that, by 0;
        # and who knows what is alive.
        self.timer: Any = None
        self.tick: Callable[[], int] | None = None
        self.trust: Any = None
        # In whose turn other limits are worked out from those that there are.
        self.changing = Mutex()
        self._is_short = is_short
        self.allow_short_ways()

    def be_short(self, is_short: bool) -> None:
        """Let connections come and go the short ways, or never do so."""
        if is_short is not self._is_short:
            self._is_short = is_short
            self.allow_short_ways()

    def allow_short_ways(self) -> None:
        """Find out whether connections may come and go the short ways."""
        gate = self.ledger.gate
        self.ledger.allow_short_ways(
            self._is_short and self.keeper.upkeep is None
            and not (gate is not None and gate.has_limits))

    def set_cleaner(self, cleaner: Cleaner | None) -> None:
        """Let connections be cleaned elsewhere, or not any more."""
        self.keeper.cleaner = cleaner
        self.ledger.is_cleaned_elsewhere = cleaner is not None
        self.ledger.measure_room()

    def set_gate(self, gate: Gate) -> None:
        """Let somebody decide whose turn it is, before the pool is used."""
        if self.ledger.gate is not None:
            raise ValueError("There can be only one who decides in a pool.")
        self.ledger.gate = gate
        self.allow_short_ways()

    def claim(self, priority: Any, tag: Any) -> Claim | None:
        """Return what is special about a request, after checking it."""
        gate = self.ledger.gate
        if gate is not None:
            return gate.claim(priority, tag)
        if priority is None and tag is None:
            return None
        raise TypeError(
            "This pool knows no priorities and tags,"
            " a ResourceAllocationPooledDB does.")

    def observe(self, observer: Observer) -> None:
        """Let somebody know what is done for those who borrow."""
        self.keeper.observers += (observer,)

    def limit_usage(self, maxusage: int | None) -> None:
        """Limit how often connections are used, also those there are."""
        self.backend.maxusage = maxusage
        for con in self.ledger.connections():
            self.backend.limit_usage(con)

    def change_limits(self, adjust: Callable[[Limits], Limits]) -> None:
        """Go on with other limits.

        adjust: works them out from those that there are

        What is idle beyond them is closed now, and what is in use when it
        comes back.
        """
        self.keeper.settle()
        with self.changing.take():
            limits = adjust(self.limits)
            if self.ledger.gate is not None:
                self.ledger.gate.check_limits(limits)
            self.ledger.change(limits)
        self.allow_short_ways()
        for surplus in self.ledger.too_many(self.ledger.idle):
            self.keeper.discard(surplus)
        self.keeper.serve()

    def trim(self, number: int) -> int:
        """Close idle connections but so many; return how many were closed."""
        self.keeper.settle()
        closed = 0
        for right in self.ledger.longest_idle(number):
            self.keeper.discard(right)
            closed += 1
        return closed


class PoolCore(_Rules):
    """The places of a pool and the requests for them."""

    def __init__(
            self, backend: Backend, limits: Limits,
            is_short: bool = False) -> None:
        super().__init__(backend, limits, is_short)
        self._queue = Queue(self.ledger, self.keeper)
        # The rights to connections that are in use without a lease.
        self._kept: dict[int, Right] = {}
        follow(self)

    def begin_anew(self) -> None:
        """Be empty in a forked child; what is in use stays in the parent."""
        for visit in self.ledger.visits():
            end(visit)
        backend, keeper = self.backend, self.keeper
        self.changing = Mutex()
        self.ledger = self.ledger.renewed()
        self.keeper = Keeper(backend, self.ledger)
        self.keeper.upkeep = keeper.upkeep
        self.keeper.observers = keeper.observers
        self.keeper.has_helpers = keeper.has_helpers
        if keeper.cleaner is not None:
            keeper.cleaner.begin_anew()
            self.keeper.cleaner = keeper.cleaner
        if self.ledger.gate is not None:
            self.ledger.gate.begin_anew()
        self.allow_short_ways()
        self._queue = Queue(self.ledger, self.keeper)
        self._kept = {}

    def look_after(self, terms: Terms, connect: Callable[[], Any]) -> None:
        """Let connections not live for ever, and be kept ready."""
        if terms.interval is not None:
            self.keeper.upkeep = Upkeep(self, terms, connect)
            self.allow_short_ways()

    # The verbs of the pools.

    def acquire(
            self, connect: Callable[[], Any], patience: float | None,
            shareable: bool = False, home: Any = None,
            claim: Claim | None = None) -> Right:
        """Return the right to a connection that is ready for use.

        home: what takes it back if it is dropped; see Right
        claim: what is special about the request

        Raises Refused if there is none within so many seconds; None means
        to wait for as long as it takes, and Ended if the pool was shut down.
        """
        if self.ledger.is_over:
            raise Ended
        try:
            return self._acquire(connect, patience, shareable, home, claim)
        except BaseException as error:
            let_go(error)
            raise

    def _acquire(
            self, connect: Callable[[], Any], patience: float | None,
            shareable: bool, home: Any, claim: Claim | None) -> Right:
        shareable = shareable and self.limits.maxshared > 0
        start = monotonic()
        deadline = start + patience if patience else None
        right = None
        while True:
            visit = new_visit(home, _DEPTH)
            try:
                right = self._find(visit, shareable, claim, patience)
                return self.keeper.ready(
                    right, connect, visit, shareable, deadline)
            except Elsewhere:
                if deadline is not None:
                    patience = max(deadline - monotonic(), 0)
            except Late:
                raise self._refusal(
                    monotonic() - start, late_text(),
                ) from self.keeper.outage.last_error()
            finally:
                right = None  # which the traceback of an attempt could keep

    def _find(
            self, visit: Visit, shareable: bool, claim: Claim | None,
            patience: float | None) -> Right:
        """Return the right to a place, waiting for it if need be."""
        ledger = self.ledger
        if ledger.inbox:
            self.keeper.settle()
        if ledger.shortcut is not ledger.idle:
            ledger.open_shortcut()
        right = None
        if ledger.may_be_taken():
            # Who begins to wait after we have seen nobody looks for what is
            # idle himself, so nobody is overtaken.
            right = ledger.take_for(visit, shareable, claim)
        if right is not None:
            return right
        return self._wait(Waiter(visit, shareable, claim), patience)

    def release(self, con: Any) -> bool:
        """Take a connection back; tell whether it was in use.

        This can be called at any moment, also by a finalizer.
        """
        slot = self.ledger.slot_of(con)
        right = None if slot is None else slot.right
        if right is None:
            return False
        self._kept.pop(id(con), None)
        return self.take_away(right)

    def take_away(self, right: Right) -> bool:
        """Take back what somebody else may hold; tell whether it was in use.

        This can be called at any moment, also by a finalizer.
        """
        if not end(right.visit):
            return False
        if is_collecting():  # the right dies with its holder
            self.ledger.waiters.nudge()
            return True
        self.give_back(right.slot.new_right())  # that of the holder is void
        return True

    def give_back(self, right: Right) -> None:
        """Take back what its only holder does not need any more."""
        try:
            self.keeper.clean(right)
        except BaseException as error:
            let_go(error)
            raise
        if self.ledger.inbox:
            self.keeper.settle()

    def attend(self, idle: Any) -> None:
        """Do what is left to do after a connection has become idle."""
        self.keeper.attend(idle)
        if self.ledger.inbox:
            self.keeper.settle()

    def throw_away(self, lease: Any) -> None:
        """Close the connection of a lease for good, unless that is over."""
        visit, right = hand_over(lease)
        if end(visit):
            self.keeper.discard(right)

    def detach(self, lease: Any) -> Any:
        """Return the connection of a lease, which leaves the pool.

        If the lease is over, this is None.
        """
        visit, right = hand_over(lease)
        if not end(visit):
            return None
        con = right.slot.con
        self.ledger.retire(right)
        self.keeper.serve()
        return con

    def keep(self, right: Right) -> None:
        """Let a connection be in use until it is released explicitly."""
        self._kept[id(right.slot.con)] = right

    def leave(self, share: Right) -> None:
        """Let one of those who share a connection go, like release()."""
        if is_collecting():
            self.ledger.waiters.nudge()
            return
        if share.visit and len(share.slot.shares()) > 1:
            self.backend.part(share.slot.con, share.visit)
        if share.slot.part(share):
            self.keeper.settle()
            self.keeper.serve()

    def leave_one(self, con: Any) -> None:
        """Let the first of those who share a connection go."""
        slot = self.ledger.slot_of(con)
        for share in slot.shares()[:1] if slot is not None else ():
            self.leave(share)

    def adopt(self, con: Any) -> Any:
        """Take in a connection that was opened by somebody else.

        Return its place.
        """
        right = self.ledger.any_place()
        right.slot.round = self.ledger.round
        slot = right.slot
        slot.con = con
        self.keeper.put_back(right)
        return slot

    def expel(self) -> Any:
        """Return the oldest idle connection, which leaves the pool.

        If no connection is idle, this is None.
        """
        self.keeper.settle()
        right = self.ledger.first_idle()
        if right is None:
            return None
        con = right.slot.con
        self.ledger.retire(right)
        self.keeper.serve()
        return con

    def clear(self, waits: bool = False) -> None:
        """Close all idle and all shared connections.

        waits: whether a connection stays open until its last sharer leaves,
            as one does that must not be closed in the middle of a statement
        """
        self.keeper.settle()
        ledger = self.ledger
        for right in ledger.all_idle():
            self.keeper.discard(right)
        for slot in ledger.detach():
            stays = waits or not self.backend.can_be_closed_in_use(slot.con)
            if not (stays and slot.shares()):
                self.keeper.close(slot)
        self.keeper.serve()

    def close_idle(self) -> None:
        """Close what is idle, and ask no server for anything."""
        for right in self.ledger.all_idle():
            self.keeper.discard(right)

    def drain(self) -> None:
        """Close all connections, those in use as soon as they come back."""
        self.ledger.round += 1
        self.clear(waits=True)

    def shutdown(self, timeout: float | None) -> bool:
        """End everything; tell whether all connections came back in time."""
        self.ledger.end()
        self._queue.end()
        self.ledger.round += 1
        self.clear()
        pause, start = threading.Event(), monotonic()
        while self.figures().in_use:
            if timeout is not None and monotonic() - start >= timeout:
                return False
            pause.wait(_SHORT_LOOK)
        return True

    def look_again(self) -> None:
        """Serve those who wait for a shared connection to become free."""
        self.keeper.settle()
        self.keeper.serve()

    def _wait(self, waiter: Waiter, patience: float | None) -> Right:
        """Return the place that a request is granted in its turn."""
        start = monotonic()
        right = self._queue.wait(waiter, patience)
        waited = monotonic() - start
        if self.keeper.observers:
            self.keeper.tell("waited", waited, right is not None)
        if right is not None:
            return right
        if self.is_over:
            raise Ended
        gate = self.ledger.gate
        raise self._refusal(
            waited, None if gate is None else gate.refusal(waiter.claim))

    def _refusal(self, waited: float, reason: str | None) -> Refused:
        return Refused(
            self.ledger.figures(), waited, self.visitors(), reason,
            self.keeper.outage.attempts.ages())
