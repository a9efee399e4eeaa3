"""Connections that come back to a pool, and slots that were lost."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from .._base.atomic import Count
from .._base.collecting import is_collecting
from .._base.errors import quietly
from .._base.hints import Any, Callable
from .._base.threads import fill_vacancies, is_ending, vacancies
from .backend import Backend, Observer
from .ledger import Ledger
from .maintenance import Maintenance
from .resetting import ResetWorkers
from .slots import Holder, Permit, Slot, holder_of
from .stats import PoolStats
from .throttle import ConnectThrottle
from .waiters import Waiter

__all__ = ["Keeper"]


class Keeper:
    """Resets and closes connections, and hands them on to waiters.

    The ledger says which request is served next, and the backend does what
    the database needs.
    """

    def __init__(self, backend: Backend, ledger: Ledger) -> None:
        self.backend = backend
        self.ledger = ledger
        self.throttle = ConnectThrottle(backend.is_outage)
        self.maintenance: Maintenance | None = None
        # They reset connections in other threads, if there are any.
        self.reset_workers: ResetWorkers | None = None
        # They are told what the pool had to do to serve a request.
        self.observers: tuple[Observer, ...] = ()
        # The numbers of connections that were opened and closed, and of
        # requests that got no connection.
        self.opened, self.closed, self.refused = Count(), Count(), Count()

    def renewed(self, ledger: Ledger) -> Keeper:
        """Return a keeper for an empty ledger, with the same helpers."""
        keeper = Keeper(self.backend, ledger)
        keeper.maintenance = self.maintenance
        keeper.observers = self.observers
        if self.reset_workers is not None:
            self.reset_workers.after_fork()
            keeper.reset_workers = self.reset_workers
        return keeper

    def notify(self, event: str, *details: Any) -> None:
        """Tell the observers, whose errors are only logged."""
        for observer in self.observers:
            with quietly("telling an observer of a pool"):
                getattr(observer, event)(*details)

    def stats(self) -> PoolStats:
        """Return the state of the pool."""
        ledger = self.ledger
        maxconnections, maxcached, maxshared, maxwaiting, mincached = (
            ledger.limits)
        return PoolStats(
            maxconnections, mincached, maxcached, maxshared, maxwaiting,
            ledger.in_use, len(ledger.idle), len(ledger.shared),
            len(ledger.waiters), self.opened.read(), self.closed.read(),
            self.throttle.reconnects.read(), self.refused.read())

    def holders(self) -> list[Holder]:
        """Return the holders of connections, the longest first."""
        holders = filter(None, map(holder_of, self.ledger.checkouts()))
        return sorted(holders, key=lambda holder: holder.since)

    # Handing on.

    def serve(self) -> None:
        """Hand free slots to waiters, in the order of service.

        Requests for shared and for dedicated connections want different
        things, and so do those with different tags: where one kind has to
        wait, another one is served.
        """
        ledger = self.ledger
        if not (ledger.limits.maxshared or (
                ledger.policy is not None and ledger.policy.has_limits)):
            self._serve_dedicated()
            return
        again = bool(ledger.queue)
        while again:
            again = False
            blocked = set()
            for waiter in ledger.waiters.in_order():
                if not waiter.is_waiting:
                    continue  # another thread has served it
                kind = waiter.shareable, waiter.request and waiter.request.tag
                permit = None
                if kind not in blocked:
                    permit = ledger.take_for(
                        waiter.checkout, waiter.shareable, waiter.request)
                if permit is None:
                    blocked.add(kind)
                elif not self._grant(waiter, permit):
                    again = True

    def _serve_dedicated(self) -> None:
        """Serve waiters that all want the same, until nothing is left."""
        ledger = self.ledger
        while ledger.queue and (ledger.idle or ledger.slots.has_empty()):
            waiter = ledger.waiters.first()
            permit = None if waiter is None else ledger.take()
            if permit is None:
                return
            self._grant(waiter, permit)  # type: ignore[arg-type]

    def _grant(self, waiter: Waiter, permit: Permit) -> bool:
        """Hand a permit to a waiter; return whether it was still there.

        Record the grant first: the woken thread may finish and serve the next
        waiter before we return.
        """
        policy = self.ledger.policy
        if policy is not None:
            policy.served(waiter.request)
        is_wanted = waiter.grant(permit)
        if is_wanted:
            self.ledger.leave_queue(waiter)
        else:
            self.put_back_unused(permit)
            if policy is not None:
                policy.not_served(waiter.request)
        return is_wanted

    def _serve_or_nudge(self) -> None:
        """Serve waiters, or only wake the first if others may be faster."""
        ledger = self.ledger
        if ledger.barging and ledger.may_be_taken():
            ledger.waiters.nudge()
        else:
            self.serve()

    def abort(self, permit: Permit) -> None:
        """Give up a slot whose connection could not be made ready.

        Do nothing if a helper has the slot, or had it meanwhile.
        """
        slot = permit.slot
        if self.throttle.attempts.leave(permit):
            return
        if permit.is_share:
            slot.part(permit)
            self.reclaim()
        elif slot in self.ledger.shared:
            self.end_sharing(slot)
        elif slot.permit in {permit, None}:
            self.destroy(permit)

    def put_back_unused(self, permit: Permit) -> None:
        """Put back what was granted to a request that had gone."""
        slot, ledger = permit.slot, self.ledger
        if permit.is_share:
            self.abort(permit)
        elif slot.con is not None and slot.round != ledger.round:
            self.destroy(permit)
        else:
            ledger.put_back_unused(permit)

    # Reclaiming.

    def reclaim(self) -> None:
        """Take back lost slots, unless the collector or the end forbids it."""
        if vacancies:
            fill_vacancies()
        if self.reset_workers is not None:
            self.reset_workers.ensure()
        if self.ledger.lost and not (is_collecting() or is_ending()):
            for found in self.ledger.slots.reissued():
                with quietly("taking a connection back"):
                    self._reclaim(found)

    def _reclaim(self, found: Permit | Slot) -> None:
        """Take back a slot that was reissued or has lost a share."""
        slot = found if isinstance(found, Slot) else found.slot
        if slot.is_detached:
            self.ledger.abandon(slot)  # if that was interrupted
        if isinstance(found, Slot) or slot.is_detached:
            self.end_sharing(slot)
        elif slot.shares():
            self.ledger.shared[slot] = found
        elif slot.con is None:
            self.ledger.put_back_unused(found)
            self.serve()
        else:
            self.reset(found)

    def end_sharing(self, slot: Slot) -> None:
        """Take a connection back if it has no sharer left."""
        if slot.is_detached:
            if not slot.shares():
                self.close(slot)
            return
        permit = self.ledger.sharing.last_out(slot)
        if permit is not None:
            self.reset(permit)

    # Resetting and closing.

    def reset(self, permit: Permit) -> None:
        """Reset a connection that came back, or close it if it is surplus."""
        if self.reset_workers is None or not self.reset_workers.takes(
                self, permit):
            self.reset_here(permit)

    def reset_here(
            self, permit: Permit,
            is_expected: Callable[[], bool] | None = None) -> None:
        """Do the same in this thread.

        is_expected: tells at the end whether the reset was not given up
        """
        slot = permit.slot
        permit.origin = self.ledger.idle
        can_stay = False
        try:
            can_stay = (
                self.may_stay(slot) and self.backend.reset(slot.con))
        finally:
            if is_expected is None or is_expected():
                if can_stay:
                    self.put_back(permit)
                else:
                    self.destroy(permit)

    def abandon(self, slot: Slot) -> None:
        """Replace a slot whose connection cannot be reset in time.

        The thread that tries to reset it closes it when it gives up.
        """
        self.ledger.abandon(slot)
        self.serve()

    def may_stay(self, slot: Slot) -> bool:
        """Return whether a connection is still wanted."""
        maintenance = self.maintenance
        if maintenance is not None:
            maintenance.used(slot)
            if maintenance.is_expired(slot):
                return False
        ledger = self.ledger
        return slot.round == ledger.round and ledger.has_room()

    def put_back(self, permit: Permit) -> None:
        """Make a connection idle, or hand it to the next waiter.

        It is put where it has come from, so it is closed if the pool was
        emptied while a function worked on it.  A request that came in the
        meantime may have looked before it was there, and is served now.
        """
        ledger = self.ledger
        if ledger.limits.maxshared:
            ledger.sharing.stop(permit.slot)
        permit.checkout = None
        idle, permit.origin = permit.origin, None
        if idle is None:
            idle = ledger.idle
        idle.append(permit)
        self.after_release(idle)

    def after_release(self, idle: deque[Permit]) -> None:
        """Do what is left to do after a connection has become idle.

        idle: where it was put; meanwhile the pool may have got another deque
            and closed all that was in here
        """
        ledger = self.ledger
        if ledger.queue:
            self._serve_or_nudge()
        if idle:
            for surplus in ledger.too_many(idle):
                self.destroy(surplus)

    def destroy(self, permit: Permit) -> None:
        """Close the connection of a slot for good."""
        try:
            if permit.slot.con is not None:
                self.close(permit.slot)
        finally:
            self.ledger.retire(permit)
            self.serve()

    def close(self, slot: Slot) -> None:
        """Close the connection of a slot, which is replaced or given up."""
        with suppress(AttributeError):  # it was closed before, or adopted
            del slot.is_open  # one step, so that each is counted once
            self.closed.step()
        with quietly("closing a connection of a pool"):
            self.backend.close(slot.con)
