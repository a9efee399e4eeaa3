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
from .._base.errors import PoolStats, late_text, release_frames
from .._base.fork import register_for_fork
from .._base.mutex import Mutex
from .._base.opening import Elsewhere, Late
from .keeper import Backend, Keeper, Observer
from .lease import hand_over
from .ledger import Ledger, Limits
from .maintenance import Maintenance, MaintenanceOptions
from .quotas import AdmissionPolicy, Request
from .resetting import ResetWorkers
from .slots import Checkout, Holder, Permit, end, holder_of, new_checkout
from .waiters import Waiter
from .waiting import Queue

__all__ = ["Pool", "PoolClosed", "PoolTimeout", "core_of"]

# In seconds, the time between two looks for what has come back.
_SHORT_LOOK = 0.01
# By how many calls a program and the beginning of its visit are apart, at
# least.
_DEPTH = 3


class PoolTimeout(Exception):  # noqa: N818 - what happened, not an error as such
    """No connection is to be had, and the request does not wait longer."""

    def __init__(
            self, stats: PoolStats, waited: float, holders: list[Holder],
            reason: str | None, ages: list[float]) -> None:
        """Note all that the error of the pool is to tell."""
        super().__init__(stats, waited, holders, reason, ages)
        self.stats = stats


class PoolClosed(Exception):  # noqa: N818 - likewise
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
    def is_closed(self) -> bool:
        """Whether the pool was shut down."""
        return self.ledger.is_closed

    @property
    def limits(self) -> Limits:
        """How much the pool may hold."""
        return self.ledger.limits

    def holders(self) -> list[Holder]:
        """Return who uses connections, the one who came first first."""
        holders = filter(None, map(holder_of, self.ledger.checkouts()))
        return sorted(holders, key=lambda holder: holder.since)

    def stats(self) -> PoolStats:
        """Return the state of the pool."""
        self.keeper.reclaim()
        return self.ledger.stats()

    def idle_connections(self) -> list[Any]:
        """Return the idle connections, the oldest first."""
        self.keeper.reclaim()
        return [permit.slot.con for permit in self.ledger.idle.copy()]

    def shared_records(self) -> list[Any]:
        """Return the records of the shared connections."""
        self.keeper.reclaim()
        return [slot.record for slot in self.ledger.shared.copy()]


class _Rules(_Books):
    """What can be changed while a pool is at work."""

    def __init__(
            self, backend: Backend, limits: Limits, is_short: bool) -> None:
        super().__init__(backend, limits)
        # How many seconds a request waits if it does not say that itself;
        # None means for as long as it takes.
        self.timeout: float | None = None
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
        admission = self.ledger.admission
        self.ledger.allow_short_ways(
            self._is_short and self.keeper.maintenance is None
            and not (admission is not None and admission.has_limits))

    def set_reset_workers(self, reset_workers: ResetWorkers | None) -> None:
        """Let connections be cleaned elsewhere, or not any more."""
        self.keeper.reset_workers = reset_workers
        self.ledger.is_cleaned_elsewhere = reset_workers is not None
        self.ledger.measure_idle_limit()

    def set_admission_policy(self, admission: AdmissionPolicy) -> None:
        """Let somebody decide whose turn it is, before the pool is used."""
        if self.ledger.admission is not None:
            raise ValueError("There can be only one who decides in a pool.")
        self.ledger.admission = admission
        self.allow_short_ways()

    def request(self, priority: Any, tag: Any) -> Request | None:
        """Return what is special about a request, after checking it."""
        admission = self.ledger.admission
        if admission is not None:
            return admission.request(priority, tag)
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
        self.keeper.reclaim()
        with self.changing.take():
            limits = adjust(self.limits)
            if self.ledger.admission is not None:
                self.ledger.admission.check_limits(limits)
            self.ledger.change(limits)
        self.allow_short_ways()
        for surplus in self.ledger.too_many(self.ledger.idle):
            self.keeper.destroy(surplus)
        self.keeper.serve()

    def trim(self, number: int) -> int:
        """Close idle connections but so many; return how many were closed."""
        self.keeper.reclaim()
        closed = 0
        for permit in self.ledger.longest_idle(number):
            self.keeper.destroy(permit)
            closed += 1
        return closed


class Pool(_Rules):
    """The places of a pool and the requests for them."""

    def __init__(
            self, backend: Backend, limits: Limits,
            is_short: bool = False) -> None:
        super().__init__(backend, limits, is_short)
        self._queue = Queue(self.ledger, self.keeper)
        # The rights to connections that are in use without a lease.
        self._kept: dict[int, Permit] = {}
        register_for_fork(self)

    def after_fork(self) -> None:
        """Be empty in a forked child; what is in use stays in the parent."""
        for checkout in self.ledger.checkouts():
            end(checkout)
        backend, keeper = self.backend, self.keeper
        self.changing = Mutex()
        self.ledger = self.ledger.renewed()
        self.keeper = Keeper(backend, self.ledger)
        self.keeper.maintenance = keeper.maintenance
        self.keeper.observers = keeper.observers
        self.keeper.has_helpers = keeper.has_helpers
        if keeper.reset_workers is not None:
            keeper.reset_workers.after_fork()
            self.keeper.reset_workers = keeper.reset_workers
        if self.ledger.admission is not None:
            self.ledger.admission.after_fork()
        self.allow_short_ways()
        self._queue = Queue(self.ledger, self.keeper)
        self._kept = {}

    def look_after(
            self, options: MaintenanceOptions, connect: Callable[[],
            Any]) -> None:
        """Let connections not live for ever, and be kept ready."""
        if options.interval is not None:
            self.keeper.maintenance = Maintenance(self, options, connect)
            self.allow_short_ways()

    # The verbs of the pools.

    def acquire(
            self, connect: Callable[[], Any], timeout: float | None,
            shareable: bool = False, pool: Any = None,
            request: Request | None = None) -> Permit:
        """Return the right to a connection that is ready for use.

        home: what takes it back if it is dropped; see Right
        claim: what is special about the request

        Raises Refused if there is none within so many seconds; None means
        to wait for as long as it takes, and Ended if the pool was shut down.
        """
        if self.ledger.is_closed:
            raise PoolClosed
        try:
            return self._acquire(connect, timeout, shareable, pool, request)
        except BaseException as error:
            release_frames(error)
            raise

    def _acquire(
            self, connect: Callable[[], Any], timeout: float | None,
            shareable: bool, pool: Any, request: Request | None) -> Permit:
        shareable = shareable and self.limits.maxshared > 0
        start = monotonic()
        deadline = start + timeout if timeout else None
        permit = None
        while True:
            checkout = new_checkout(pool, _DEPTH)
            try:
                permit = self._find(checkout, shareable, request, timeout)
                return self.keeper.ready(
                    permit, connect, checkout, shareable, deadline)
            except Elsewhere:
                if deadline is not None:
                    timeout = max(deadline - monotonic(), 0)
            except Late:
                raise self._refusal(
                    monotonic() - start, late_text(),
                ) from self.keeper.throttle.last_error()
            finally:
                permit = None  # which the traceback of an attempt could keep

    def _find(
            self, checkout: Checkout, shareable: bool, request: Request | None,
            timeout: float | None) -> Permit:
        """Return the right to a place, waiting for it if need be."""
        ledger = self.ledger
        if ledger.lost:
            self.keeper.reclaim()
        if ledger.fast_way is not ledger.idle:
            ledger.open_fast_way()
        permit = None
        if ledger.may_be_taken():
            # Who begins to wait after we have seen nobody looks for what is
            # idle himself, so nobody is overtaken.
            permit = ledger.take_for(checkout, shareable, request)
        if permit is not None:
            return permit
        return self._wait(Waiter(checkout, shareable, request), timeout)

    def release(self, con: Any) -> bool:
        """Take a connection back; tell whether it was in use.

        This can be called at any moment, also by a finalizer.
        """
        slot = self.ledger.slot_of(con)
        permit = None if slot is None else slot.permit
        if permit is None:
            return False
        self._kept.pop(id(con), None)
        return self.take_away(permit)

    def take_away(self, permit: Permit) -> bool:
        """Take back what somebody else may hold; tell whether it was in use.

        This can be called at any moment, also by a finalizer.
        """
        if not end(permit.checkout):
            return False
        if is_collecting():  # the right dies with its holder
            self.ledger.waiters.nudge()
            return True
        self.give_back(permit.slot.new_permit())  # that of the holder is void
        return True

    def give_back(self, permit: Permit) -> None:
        """Take back what its only holder does not need any more."""
        try:
            self.keeper.clean(permit)
        except BaseException as error:
            release_frames(error)
            raise
        if self.ledger.lost:
            self.keeper.reclaim()

    def after_release(self, idle: Any) -> None:
        """Do what is left to do after a connection has become idle."""
        self.keeper.after_release(idle)
        if self.ledger.lost:
            self.keeper.reclaim()

    def destroy_lease(self, lease: Any) -> None:
        """Close the connection of a lease for good, unless that is over."""
        checkout, permit = hand_over(lease)
        if end(checkout):
            self.keeper.destroy(permit)

    def detach(self, lease: Any) -> Any:
        """Return the connection of a lease, which leaves the pool.

        If the lease is over, this is None.
        """
        checkout, permit = hand_over(lease)
        if not end(checkout):
            return None
        con = permit.slot.con
        self.ledger.retire(permit)
        self.keeper.serve()
        return con

    def hold_permit(self, permit: Permit) -> None:
        """Let a connection be in use until it is released explicitly."""
        self._kept[id(permit.slot.con)] = permit

    def leave(self, share: Permit) -> None:
        """Let one of those who share a connection go, like release()."""
        if is_collecting():
            self.ledger.waiters.nudge()
            return
        if share.checkout and len(share.slot.shares()) > 1:
            self.backend.part(share.slot.con, share.checkout)
        if share.slot.part(share):
            self.keeper.reclaim()
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
        permit = self.ledger.any_place()
        permit.slot.round = self.ledger.round
        slot = permit.slot
        slot.con = con
        self.keeper.put_back(permit)
        return slot

    def detach_idle(self) -> Any:
        """Return the oldest idle connection, which leaves the pool.

        If no connection is idle, this is None.
        """
        self.keeper.reclaim()
        permit = self.ledger.first_idle()
        if permit is None:
            return None
        con = permit.slot.con
        self.ledger.retire(permit)
        self.keeper.serve()
        return con

    def clear(self, waits: bool = False) -> None:
        """Close all idle and all shared connections.

        waits: whether a connection stays open until its last sharer leaves,
            as one does that must not be closed in the middle of a statement
        """
        self.keeper.reclaim()
        ledger = self.ledger
        for permit in ledger.all_idle():
            self.keeper.destroy(permit)
        for slot in ledger.detach():
            stays = waits or not self.backend.can_be_closed_in_use(slot.con)
            if not (stays and slot.shares()):
                self.keeper.close(slot)
        self.keeper.serve()

    def close_idle(self) -> None:
        """Close what is idle, and ask no server for anything."""
        for permit in self.ledger.all_idle():
            self.keeper.destroy(permit)

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
        while self.stats().in_use:
            if timeout is not None and monotonic() - start >= timeout:
                return False
            pause.wait(_SHORT_LOOK)
        return True

    def look_again(self) -> None:
        """Serve those who wait for a shared connection to become free."""
        self.keeper.reclaim()
        self.keeper.serve()

    def _wait(self, waiter: Waiter, timeout: float | None) -> Permit:
        """Return the place that a request is granted in its turn."""
        start = monotonic()
        permit = self._queue.wait(waiter, timeout)
        waited = monotonic() - start
        if self.keeper.observers:
            self.keeper.notify("waited", waited, permit is not None)
        if permit is not None:
            return permit
        if self.is_closed:
            raise PoolClosed
        admission = self.ledger.admission
        raise self._refusal(
            waited, None if admission is None else
            admission.refusal(waiter.request))

    def _refusal(self, waited: float, reason: str | None) -> PoolTimeout:
        return PoolTimeout(
            self.ledger.stats(), waited, self.holders(), reason,
            self.keeper.throttle.attempts.ages())
