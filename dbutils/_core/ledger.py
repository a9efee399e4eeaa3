"""The book-keeping of a pool: places, visits, and requests.

Nothing here opens, checks, cleans or closes a connection, and nothing needs
a lock: each entry is a single step that nothing can divide, and what is in
nobody's hands any more comes back through the inbox.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Any, Callable, Iterator, NamedTuple

from .._base.atomic import first, pop, remove
from .._base.checks import check_size
from .._base.errors import PoolStats
from .sharing import Sharing
from .slots import Checkout, Permit, Slot
from .thread_order import ORDERS, OldestFirst
from .waiters import Waiter, WaitQueue

__all__ = ["Ledger", "Limits", "make_limits"]


class Limits(NamedTuple):
    """How much a pool may hold; except for sharing None means unlimited."""

    maxconnections: int | None = None
    maxcached: int | None = None
    maxshared: int = 0
    maxwaiting: int | None = None
    mincached: int = 0


def make_limits(
        mincached: int | None, maxcached: int | None, maxshared: int | None,
        maxconnections: int | None, can_share: bool = False,
        maxwaiting: int | None = None) -> Limits:
    """Check the limits; raise each to what the smaller ones demand."""
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


# Where nothing is idle, and nothing is ever put.
_NOTHING: deque[Permit] = deque(maxlen=0)


class _Desk:
    """Where connections are taken and given back, and where one waits.

    The usual way there is short: an idle connection is taken from "shortcut",
    and is put into "idle" if there are fewer than "room" of them (None means
    any number).  Where more is to be done, "shortcut" is empty, or "room" 0.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # The rights to the places with an idle connection, the oldest first.
        self.idle: deque[Permit] = deque()
        self.waiters = WaitQueue()
        self.queue = self.waiters.queue  # empty only if nobody waits
        self.fast_way = _NOTHING
        self.idle_limit: int | None = 0
        self._may_be_short = False
        # For how many seconds somebody who waits may be overtaken, and
        # whether nothing comes back the short way.
        self.barging = 0.0
        self.is_cleaned_elsewhere = False
        # In which order idle connections are lent.
        self._lends_own = self._lends_latest = False

    def allow_short_ways(self, are_allowed: bool) -> None:
        """Let connections come and go without more ado, or not."""
        self._may_be_short = are_allowed and not self.limits.maxshared
        self.settle_ways()

    def settle_ways(self) -> None:
        """Open or close the short ways, according to who waits."""
        self.fast_way = _NOTHING
        self.open_fast_way()
        self.measure_idle_limit()

    def open_fast_way(self) -> None:
        """Let what is idle be taken the short way, if nobody waits."""
        if self._may_be_short and self.may_be_taken():
            self.fast_way = self.idle
            if not self.may_be_taken():  # somebody has come in the meantime
                self.fast_way = _NOTHING

    def measure_idle_limit(self) -> None:
        """Find out how many may be put into "idle" the short way."""
        self.idle_limit = 0
        if self._may_be_short and not (
                self.has_surplus() or self.is_cleaned_elsewhere):
            self.idle_limit = self.limits.maxcached
            if self.queue and self.barging:  # who waits has to be told
                self.idle_limit = 0

    def may_be_taken(self) -> bool:
        """Tell whether a request may take what is idle, and overtakes nobody.

        That is so, too, if whoever is next has not waited for long.
        """
        return not self.queue or (
            self.barging > 0 and self._has_come_just_now())

    def _has_come_just_now(self) -> bool:
        waiter = self.waiters.first()
        since = waiter.checkout[1:2] if waiter is not None else ()
        return not since or monotonic() - since[0] < self.barging

    def has_surplus(self) -> bool:
        """Tell whether there are more places than there should be."""
        return False

    def queue_up(self, waiter: Waiter) -> None:
        """Let a request wait, whom nobody may overtake from now on."""
        self.waiters.join(waiter)
        if self.barging:
            self.settle_ways()
        else:
            self.fast_way = _NOTHING

    def leave_queue(self, waiter: Waiter) -> None:
        """Let a request not wait any more."""
        self.waiters.drop(waiter)
        if self.barging:
            self.settle_ways()
        else:
            self.open_fast_way()


class _Register(_Desk):
    """All slots of a pool, to be read."""

    def __init__(
            self, limits: Limits, is_shareable: Callable[[Any], bool]) -> None:
        super().__init__(limits)
        # The connections opened in earlier rounds do not stay.
        self.round = 0
        # What is left of rights that have died.
        self.lost: deque[Any] = deque()
        self._report = self.lost.append
        # The rights to the empty places, and to those beyond the limit.
        self.vacant: deque[Permit] = deque()
        self.surplus: deque[Permit] = deque()
        # All places by their numbers, and those that are shared.
        self._slots: dict[int, Slot] = {}
        self.sharing = Sharing(is_shareable)
        self.shared = self.sharing.slots
        # Whether the pool was shut down, after which nothing is idle.
        self.is_closed = False
        # Who decides whose turn it is, unless all requests are alike.
        self.admission: Any = None
        # Whether the limit was lowered, so that there may be too many places.
        self._was_lowered = False

    def end(self) -> None:
        """Shut the pool down."""
        self.is_closed = True
        self.idle_limit = 0

    @property
    def _maxcached(self) -> int | None:
        return 0 if self.is_closed else self.limits.maxcached

    @property
    def places(self) -> int:
        """How many places there are, without those beyond the limit."""
        return len(self._slots) - len(self.surplus)

    def stats(self) -> PoolStats:
        """Return the state of the pool."""
        idle = len(self.idle)
        return PoolStats(
            self.limits.maxconnections,
            max(self.places - idle - len(self.vacant), 0), idle,
            len(self.waiters), self.limits.maxshared, self.limits.maxwaiting)

    def checkouts(self) -> list[Checkout]:
        """Return the visits that are going on."""
        checkouts: list[Any] = []
        for slot in self._slots.copy().values():
            checkouts += [share.checkout for share in slot.shares()] or [
                slot.checkout]
        return [checkout for checkout in checkouts if checkout]

    def connections(self) -> list[Any]:
        """Return all connections that there are, idle or in use."""
        cons = (slot.con for slot in self._slots.copy().values())
        return [con for con in cons if con is not None]

    def slot_of(self, con: Any) -> Slot | None:
        """Return the place of a connection that may be in use."""
        slots = self._slots.copy().values()
        return next((slot for slot in slots if slot.con is con), None)

    def has_room(self) -> bool:
        """Tell whether one that comes back may be idle."""
        maxcached = self._maxcached
        return not self.has_surplus() and (
            maxcached is None or len(self.idle) < maxcached)

    def has_surplus(self) -> bool:
        """Tell whether a place has to be given up when it comes back."""
        return self.is_closed or self._is_oversized()

    def _is_oversized(self) -> bool:
        limit = self.limits.maxconnections
        return (
            self._was_lowered and limit is not None and self.places > limit)

    def is_coming(self, waiter: Waiter) -> bool:
        """Tell whether a connection is just being made ready to be shared."""
        return waiter.shareable and self.sharing.is_preparing

    def may_queue(self, waiter: Waiter) -> bool:
        """Tell whether the queue is not too long for one who joined it."""
        limit = self.limits.maxwaiting
        return limit is None or waiter in self.waiters.in_order()[:limit]


class Ledger(_Register):
    """The slots of a pool, and those who wait for one."""

    def change(self, limits: Limits) -> None:
        """Change the limits; what is idle can be too much then."""
        self.limits = limits
        self._was_lowered = True
        self.measure_idle_limit()
        while self._is_oversized():
            permit = pop(self.vacant)
            if permit is None:
                break
            self.put_back_unused(permit)

    def take_for(
            self, checkout: Checkout, shareable: bool,
            request: Any = None) -> Permit | None:
        """Return what a request wants, or None if that is not to be had."""
        admission = self.admission
        if admission is None or not admission.has_limits:
            return self._take_for(checkout, shareable)
        entrance = admission.admit(request)
        if entrance is None:
            return None
        permit = self._take_for(checkout, shareable)
        if permit is None:
            entrance.free()
        else:
            permit.entrance = entrance
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
        """Return the right to a place, if possible with a connection."""
        return pop(self.idle) or self.take_empty()

    def _add_place(self, limit: int | None) -> Permit | None:
        while True:
            number = len(self._slots)  # first: it may grow at any moment
            if limit is not None and number - len(self.surplus) >= limit:
                return None
            slot = Slot(self._report, number)
            permit = slot.new_permit()
            if self._slots.setdefault(number, slot) is slot:
                return permit

    def take_empty(self) -> Permit | None:
        """Return the right to a place without a connection."""
        permit = pop(self.vacant)
        limit = self.limits.maxconnections
        if permit is None and (limit is None or self.places < limit):
            permit = pop(self.surplus) or self._add_place(limit)
        return permit

    def any_place(self) -> Permit:
        """Return the right to an empty place, if need be beyond the limit."""
        permit = pop(self.vacant) or pop(self.surplus)
        return permit or self._add_place(None)  # type: ignore[return-value]

    def put_back_unused(self, permit: Permit) -> None:
        """Put a place back that is not needed now; it is the next in turn.

        Nothing is done if the place is in other hands already.
        """
        slot = permit.slot
        if permit.entrance is not None:
            permit.entrance.free()
        self.sharing.stop(slot)
        fresh = slot.exchange(permit)
        if fresh is None:
            return
        if slot.con is not None:
            self.idle.appendleft(fresh)
        elif (self.limits.maxconnections is None
                or self.places <= self.limits.maxconnections):
            self.vacant.append(fresh)
        else:
            self.surplus.append(fresh)
            self.measure_idle_limit()

    def retire(self, permit: Permit) -> None:
        """Put a place back whose connection was closed."""
        permit.slot.con = None
        self.put_back_unused(permit)

    def too_many(self, idle: deque[Permit]) -> Iterator[Permit]:
        """Take out what may not be idle, the one that came last first."""
        maxcached = self._maxcached
        if idle is not self.idle:  # all of them were to be closed
            maxcached = 0
        while idle and (self.has_surplus() or (
                maxcached is not None and len(idle) > maxcached)):
            permit = pop(idle, last=True)
            if permit is not None:
                yield permit

    def longest_idle(self, number: int) -> Iterator[Permit]:
        """Take out what is idle, the oldest first, until so many are left."""
        while len(self.idle) > number:
            with suppress(IndexError):  # others do the same
                yield deque.popleft(self.idle)

    def idle_ones(self, is_wanted: Callable[[Slot], bool]) -> Iterator[Permit]:
        """Take out the idle connections that are wanted."""
        for permit in self.idle.copy():
            if is_wanted(permit.slot) and self.take_out(permit):
                yield permit

    def take_out(self, permit: Permit) -> bool:
        """Take out a certain idle connection, if it is still there."""
        idle = self.idle
        is_there = remove(idle, permit)
        if is_there:
            permit.origin = idle
        return is_there

    def has_empty_place(self) -> bool:
        """Tell whether another connection could be opened."""
        limit = self.limits.maxconnections
        return bool(self.vacant) or limit is None or self.places < limit

    def first_idle(self) -> Permit | None:
        """Take out the oldest idle connection."""
        return pop(self.idle)

    def all_idle(self) -> Iterator[Permit]:
        """Take out all idle connections."""
        idle, self.idle = self.idle, type(self.idle)()
        self.fast_way = _NOTHING
        self.open_fast_way()
        return iter(lambda: pop(idle), None)

    def allow_orders(self) -> None:
        """Be ready to lend what is idle in another order."""
        if type(self.idle) is deque:  # the pool is not used yet
            self.idle = OldestFirst(self.idle)
            self.settle_ways()

    def set_order(
            self, own: bool | None = None, latest: bool | None = None) -> None:
        """Let what is idle be lent in another order.

        own: whether a thread gets first what it had last
        latest: whether what was in use last is lent first
        """
        self.allow_orders()
        if own is not None:
            self._lends_own = own
        if latest is not None:
            self._lends_latest = latest
        self.idle.__class__ = ORDERS[self._lends_own, self._lends_latest]

    def renewed(self) -> Ledger:
        """Return empty books with the same rules."""
        ledger = Ledger(self.limits, self.sharing.is_shareable)
        if type(self.idle) is not deque:
            ledger.set_order(self._lends_own, self._lends_latest)
        ledger.barging = self.barging
        ledger.is_cleaned_elsewhere = self.is_cleaned_elsewhere
        ledger.admission = self.admission
        ledger.waiters.rank = self.waiters.rank
        if self.is_closed:
            ledger.end()
        return ledger

    # Sharing.

    def detach(self) -> Iterator[Slot]:
        """Give new places to those that are shared, and yield the old."""
        for slot in self.shared.copy():
            slot.detach()
            self._replace(slot)
            self.shared.pop(slot, None)
            self.sharing.stop(slot)
            yield slot

    def abandon(self, slot: Slot) -> None:
        """Give a new place to one whose connection does not come back."""
        slot.detach()
        self._replace(slot)

    def _replace(self, slot: Slot) -> None:
        if self._has(slot):
            fresh = Slot(self._report, slot.number)
            permit = fresh.new_permit()
            self._slots[slot.number] = fresh
            self.put_back_unused(permit)

    def _has(self, slot: Slot) -> bool:
        """Tell whether something is a place of this pool."""
        return self._slots.get(slot.number) is slot

    # What has come back by itself.

    def inherited(self) -> Iterator[Permit | Slot]:
        """Yield the places whose right has died, and those with a share."""
        while self.lost:
            will = first(self.lost)  # others are doing the same
            if will is None:
                return
            found = self._inherit(will)
            if found is not None:
                yield found
            remove(self.lost, will)  # not before, if it is interrupted

    def _inherit(self, will: Any) -> Permit | Slot | None:
        slot_of = getattr(will, "slot", None)
        slot = None if slot_of is None else slot_of()
        if slot is None or not (slot.is_detached or self._has(slot)):
            return None  # it has never become a place of the pool
        if slot.is_detached:
            self._replace(slot)  # if that was interrupted
        return slot.inherit() or slot
