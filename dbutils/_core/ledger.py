"""The book-keeping of a pool: slots, idle connections, and waiters.

Nothing here opens, checks, resets or closes a connection, and nothing needs
a lock: each entry is a single step that nothing can divide, and a permit that
is lost on its way is reissued.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from time import monotonic

from .._base.atomic import pop, remove
from .._base.checks import check_size
from .._base.hints import Any, Callable, Iterator, NamedTuple
from .sharing import Sharing
from .slots import Checkout, Permit, Slot, SlotTable
from .thread_order import ORDERS, OldestFirst
from .waiters import Waiter, WaitQueue

__all__ = ["Ledger", "Limits", "make_limits"]


class Limits(NamedTuple):
    """The limits of a pool; except for sharing None means unlimited."""

    maxconnections: int | None = None
    maxcached: int | None = None
    maxshared: int = 0
    maxwaiting: int | None = None
    mincached: int = 0


def make_limits(
        mincached: int | None, maxcached: int | None, maxshared: int | None,
        maxconnections: int | None, can_share: bool = False,
        maxwaiting: int | None = None) -> Limits:
    """Check the limits, and raise each to what the smaller ones demand."""
    mincached = check_size("mincached", mincached) or 0
    check_size("maxcached", maxcached)
    check_size("maxshared", maxshared)
    check_size("maxconnections", maxconnections)
    check_size("maxwaiting", maxwaiting)
    if maxcached:
        maxcached = max(maxcached, mincached)
    if maxconnections:
        maxconnections = max(
            maxconnections, mincached, maxcached or 0, maxshared or 0)
    return Limits(
        maxconnections or None, maxcached or None,
        (can_share and maxshared) or 0, maxwaiting, mincached)


# A deque without idle connections, to which nothing is ever added.
_NOTHING: deque[Permit] = deque(maxlen=0)


class Ledger:
    """The slots of a pool, and the requests that wait for one.

    The fast way is short: an idle connection is taken from "fast_way", and
    comes back to "idle" if that has fewer than "idle_limit" (None means any
    number).  Where more is to be done, the first is empty, or the latter 0.
    """

    def __init__(
            self, limits: Limits, is_shareable: Callable[[Any], bool]) -> None:
        self.limits = limits
        self.slots = SlotTable(limits.maxconnections)
        self.lost = self.slots.lost
        # Connections that were opened in earlier rounds do not stay.
        self.round = 0
        # Whether the pool was shut down, after which nothing is idle.
        self.is_closed = False
        # The permits of the slots with an idle connection, the oldest first,
        # and the order in which they are handed out.
        self.idle: deque[Permit] = deque()
        self._prefers_own = self._prefers_latest = False
        self.waiters = WaitQueue()
        self.queue = self.waiters.queue  # empty only if no request waits
        # For how many seconds a waiter may be overtaken, and what decides
        # about requests, unless they are all alike.
        self.barging = 0.0
        self.policy: Any = None
        self.sharing = Sharing(is_shareable)
        self.shared = self.sharing.slots
        # The fast way, whether the pool may have one, and whether returned
        # connections are reset elsewhere.
        self.fast_way = _NOTHING
        self.idle_limit: int | None = 0
        self._may_be_fast = False
        self.is_reset_elsewhere = False

    def renewed(self) -> Ledger:
        """Return an empty ledger with the same rules."""
        ledger = Ledger(self.limits, self.sharing.is_shareable)
        if type(self.idle) is not deque:
            ledger.set_order(self._prefers_own, self._prefers_latest)
        ledger.barging = self.barging
        ledger.is_reset_elsewhere = self.is_reset_elsewhere
        ledger.policy = self.policy
        ledger.waiters.rank = self.waiters.rank
        if self.is_closed:
            ledger.close()
        return ledger

    def close(self) -> None:
        """Accept no idle connections from now on."""
        self.is_closed = True
        self.idle_limit = 0

    # The fast way.

    def allow_fast_way(self, is_allowed: bool) -> None:
        """Open the fast way when possible, or close it for good."""
        self._may_be_fast = is_allowed and not self.limits.maxshared
        self.update_fast_way()

    def update_fast_way(self) -> None:
        """Open or close the fast way in both directions."""
        self.fast_way = _NOTHING
        self.open_fast_way()
        self.measure_idle_limit()

    def open_fast_way(self) -> None:
        """Offer the idle connections on the fast way, if no request waits."""
        if self._may_be_fast and self.may_be_taken():
            self.fast_way = self.idle
            if not self.may_be_taken():  # a waiter has come in the meantime
                self.fast_way = _NOTHING

    def measure_idle_limit(self) -> None:
        """Update how many connections may come back on the fast way."""
        self.idle_limit = 0
        if self._may_be_fast and not (
                self.has_surplus() or self.is_reset_elsewhere):
            self.idle_limit = self.limits.maxcached
            if self.queue and self.barging:  # the waiters have to be told
                self.idle_limit = 0

    # Waiters.

    def may_be_taken(self) -> bool:
        """Return whether a request may take what is idle.

        It must not overtake a waiter, unless that has only just come.
        """
        return not self.queue or (
            self.barging > 0 and self._has_come_just_now())

    def _has_come_just_now(self) -> bool:
        waiter = self.waiters.first()
        since = waiter.checkout[1:2] if waiter is not None else ()
        return not since or monotonic() - since[0] < self.barging

    def queue_up(self, waiter: Waiter) -> None:
        """Enqueue a waiter; newcomers queue behind it."""
        self.waiters.join(waiter)
        if self.barging:
            self.update_fast_way()
        else:
            self.fast_way = _NOTHING

    def leave_queue(self, waiter: Waiter) -> None:
        """Take a waiter out of the queue."""
        self.waiters.drop(waiter)
        if self.barging:
            self.update_fast_way()
        else:
            self.open_fast_way()

    def may_queue(self, waiter: Waiter) -> bool:
        """Return whether the queue was not too long when a waiter came."""
        limit = self.limits.maxwaiting
        return limit is None or waiter in self.waiters.in_order()[:limit]

    def is_coming(self, waiter: Waiter) -> bool:
        """Return whether a connection is just being prepared for sharing."""
        return waiter.shareable and self.sharing.is_preparing

    # Reading.

    @property
    def in_use(self) -> int:
        """The number of slots that are neither idle nor empty."""
        slots = self.slots
        return max(slots.size - len(self.idle) - len(slots.vacant), 0)

    def checkouts(self) -> list[Checkout]:
        """Return the checkouts that are going on."""
        checkouts: list[Any] = []
        for slot in self.slots.all():
            checkouts += [share.checkout for share in slot.shares()] or [
                slot.checkout]
        return [checkout for checkout in checkouts if checkout]

    def connections(self) -> list[Any]:
        """Return all connections, idle or in use."""
        cons = (slot.con for slot in self.slots.all())
        return [con for con in cons if con is not None]

    def slot_of(self, con: Any) -> Slot | None:
        """Return the slot of a connection, if the pool has it."""
        slots = self.slots.all()
        return next((slot for slot in slots if slot.con is con), None)

    def has_room(self) -> bool:
        """Return whether a connection that comes back may be idle."""
        maxcached = self._maxcached
        return not self.has_surplus() and (
            maxcached is None or len(self.idle) < maxcached)

    def has_surplus(self) -> bool:
        """Return whether a slot is given up when its connection comes back."""
        return self.is_closed or self.slots.is_oversized()

    @property
    def _maxcached(self) -> int | None:
        return 0 if self.is_closed else self.limits.maxcached

    # Taking and putting back.

    def take_for(
            self, checkout: Checkout, shareable: bool,
            request: Any = None) -> Permit | None:
        """Return the permit that a request wants, None if there is none."""
        policy = self.policy
        if policy is None or not policy.has_limits:
            return self._take_for(checkout, shareable)
        admission = policy.admit(request)
        if admission is None:
            return None
        permit = self._take_for(checkout, shareable)
        if permit is None:
            admission.free()
        else:
            permit.admission = admission
        return permit

    def _take_for(self, checkout: Checkout, shareable: bool) -> Permit | None:
        if not shareable:
            return self.take()
        permit = None
        if self.sharing.number < self.limits.maxshared:
            permit = self.take()
        if permit is None:
            return self.sharing.join(checkout)
        if not self.sharing.may_begin(permit.slot, self.limits.maxshared):
            self.put_back_unused(permit)
            return self.sharing.join(checkout)
        return permit

    def take(self) -> Permit | None:
        """Return the permit of a slot, if possible with a connection."""
        return pop(self.idle) or self.slots.take_empty()

    def put_back_unused(self, permit: Permit) -> None:
        """Put back a slot that is not needed now; it is handed out next.

        Do nothing if another permit was issued for it meanwhile.
        """
        slot = permit.slot
        if permit.admission is not None:
            permit.admission.free()
        self.sharing.stop(slot)
        fresh = slot.exchange(permit)
        if fresh is None:
            return
        if slot.con is not None:
            self.idle.appendleft(fresh)
        elif self.slots.put_empty(fresh):
            self.measure_idle_limit()

    def retire(self, permit: Permit) -> None:
        """Put back a slot whose connection was closed."""
        permit.slot.con = None
        self.put_back_unused(permit)

    def abandon(self, slot: Slot) -> None:
        """Replace a slot whose connection does not come back to the pool."""
        slot.detach()
        self.slots.replace(slot)
        self.measure_idle_limit()

    def detach_shared(self) -> Iterator[Slot]:
        """Replace the shared slots, and yield the old ones."""
        for slot in self.shared.copy():
            self.abandon(slot)
            self.shared.pop(slot, None)
            self.sharing.stop(slot)
            yield slot

    def change(self, limits: Limits) -> None:
        """Change the limits; the idle connections may be too many then."""
        self.limits = limits
        self.slots.limit = limits.maxconnections
        self.measure_idle_limit()
        self.slots.resize(limits.maxconnections)
        self.measure_idle_limit()

    # Idle connections.

    def too_many(self, idle: deque[Permit]) -> Iterator[Permit]:
        """Take out what may not be idle, the latest first."""
        maxcached = self._maxcached
        if idle is not self.idle:  # all of them were to be closed
            maxcached = 0
        while idle and (self.has_surplus() or (
                maxcached is not None and len(idle) > maxcached)):
            permit = pop(idle, last=True)
            if permit is not None:
                yield permit

    def longest_idle(self, number: int) -> Iterator[Permit]:
        """Take out idle connections, the oldest first, until some remain."""
        while len(self.idle) > number:
            with suppress(IndexError):  # others do the same
                yield deque.popleft(self.idle)

    def idle_ones(self, is_wanted: Callable[[Slot], bool]) -> Iterator[Permit]:
        """Take out the idle connections that are wanted."""
        for permit in self.idle.copy():
            if is_wanted(permit.slot) and self.take_out(permit):
                yield permit

    def take_out(self, permit: Permit) -> bool:
        """Take out an idle connection; return whether it was still there."""
        idle = self.idle
        is_there = remove(idle, permit)
        if is_there:
            permit.origin = idle
        return is_there

    def all_idle(self) -> Iterator[Permit]:
        """Take out all idle connections."""
        idle, self.idle = self.idle, type(self.idle)()
        self.fast_way = _NOTHING
        self.open_fast_way()
        return iter(lambda: pop(idle), None)

    def set_order(
            self, own: bool | None = None, latest: bool | None = None) -> None:
        """Set the order in which idle connections are handed out.

        own: whether a thread first gets the connection that it had last
        latest: whether the latest one comes first, instead of the oldest
        """
        if type(self.idle) is deque:  # the pool is not used yet
            self.idle = OldestFirst(self.idle)
            self.update_fast_way()
        if own is not None:
            self._prefers_own = own
        if latest is not None:
            self._prefers_latest = latest
        self.idle.__class__ = ORDERS[self._prefers_own, self._prefers_latest]
