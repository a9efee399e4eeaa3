"""The slots of a pool, and the permits to use them.

A slot always has one permit, an object to which exactly one holder refers:
a deque of the pool, a function at work, or a lease.  Taking it out of a deque
or setting an attribute is one step that nothing can divide.  When its holder
is gone, because a lease was dropped, or because an interrupt has unwound a
function at the worst moment, then the permit dies, and its link falls into
the deque of lost ones.  The next caller finds it there and issues another
permit for the slot.  So nothing has to be undone, and nothing needs a lock.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from types import CodeType
from typing import Any, Callable, Iterator, List, NamedTuple
from weakref import ref

from .._base.atomic import first, pop, remove
from .._base.callers import caller, where
from .._base.errors import release_frames
from .._base.finalizers import note_lost

__all__ = [
    "CODE", "LAST", "Checkout", "Holder", "Permit", "Slot", "SlotTable",
    "begin", "end", "holder_of", "new_checkout"]


class Holder(NamedTuple):
    """The thread that has a connection, and since when."""

    # It takes the connection back when its lease is closed or dropped.
    pool: Any
    since: float
    code: CodeType
    instruction: int
    thread: int

    def __str__(self) -> str:
        """Return who has the connection, how long, and where it was taken."""
        name = next(
            (thread.name for thread in threading.enumerate()
             if thread.ident == self.thread), "a thread that has ended")
        place = where(self.code, self.instruction)
        return f"{name}, for {self.seconds:.3g} seconds, taken at {place}"

    @property
    def seconds(self) -> float:
        """How long the checkout has lasted."""
        return monotonic() - self.since


# One use of a connection, from its handing out to its return.  It is a list
# with the fields of the holder: deleting the last one ends the checkout, which
# is one step, and soon after the list is empty.
Checkout = List[Any]
SINCE, CODE, LAST = 1, 2, 4


def new_checkout(pool: Any = None, depth: int = 1) -> Checkout:
    """Return a checkout by the caller of the library that begins now.

    depth: how many calls lie between that caller and this one, at least
    """
    frame = caller(depth + 1)
    return [
        pool, monotonic(), frame.f_code, frame.f_lasti,
        threading.get_ident()]


def begin(checkout: Checkout) -> None:
    """Count a checkout from now on; until now it was a request."""
    try:  # noqa: SIM105 - suppress() would take ten times as long
        checkout[SINCE] = monotonic()
    except IndexError:
        pass  # it has ended already


def end(checkout: Checkout | None) -> bool:
    """End a checkout, if it has begun; return whether this call did it."""
    if not checkout:
        return False
    try:
        del checkout[LAST]
    except IndexError:
        return False
    checkout.clear()
    return True


def holder_of(checkout: Checkout | None) -> Holder | None:
    """Return the holder of a connection, None if the checkout has ended."""
    fields = checkout.copy() if checkout else []
    return Holder(*fields) if len(fields) > LAST else None


class Permit:
    """The right to use a slot, for as long as something refers to it."""

    __slots__ = (
        "__weakref__",
        "admission",
        "checkout",
        "is_share",
        "link",
        "origin",
        "slot",
    )

    def __init__(
            self, slot: Slot, checkout: Checkout | None = None,
            is_share: bool = False) -> None:
        self.slot = slot
        self.checkout = checkout
        self.is_share = is_share
        self.link: Any = None
        # Where the slot was or could have been idle when work on its
        # connection began; the pool may have been emptied since.
        self.origin: Any = None
        # The tokens to be given back with it before the checkout begins.
        self.admission: Any = None

    def __del__(self) -> None:
        """Take the connection back at once, if it is in use.

        If that fails, it is taken back later; see _Link.  That needs the
        permit to be really dead, also if an interrupt hits us here.
        """
        try:
            holder = holder_of(getattr(self, "checkout", None))
            if holder is not None and holder.pool is not None:
                pool = holder.pool
                pool._take_back_dropped(self, holder)  # noqa: SLF001 - of pools
        except Warning:  # which the program wants to be an error
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - must die
            raise
        except BaseException as error:  # noqa: BLE001 - nobody is above
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - must die
            if note_lost is not None:  # as when modules were emptied
                release_frames(error)
                note_lost("taking back what was dropped", error)


class _Link(ref):
    """The weak reference to a permit, which is left when that has died."""

    __slots__ = ("__dict__", "slot")

    # A reference that is weak, since a slot must not refer to itself.
    slot: Callable[[], Any]
    # The link of the next permit; the first thread that sets it has the slot.
    successor: Any = None
    # The checkout, if the permit is a share of the connection.
    checkout: Checkout | None = None


class Slot:
    """A place in a pool, which lives as long as the pool."""

    __slots__ = (
        "__weakref__", "_link", "_report", "_sharers", "_this", "con",
        "expires", "is_detached", "is_open", "last_used", "number", "record",
        "round", "shared_as", "turn")

    # This is only there while a connection of the pool is open.
    is_open: bool

    def __init__(
            self, report: Callable[[Any], None], number: int = -1) -> None:
        # Puts the link of a dead permit where the pool finds it.
        self._report = report
        # Its number in the slot table of the pool.
        self.number = number
        self._this = ref(self)
        self._link: Any = None
        # The links of the shares of the connection, by their identities.
        self._sharers: dict[int, _Link] | None = None
        # The connection, unless the slot is empty, and in which round of the
        # pool it was opened.
        self.con: Any = None
        self.round = 0
        # When the connection has to go, and when it was in use.
        self.expires: float | None = None
        self.last_used = 0.0
        # The record of those who share the connection, and its number among
        # the slots that count as shared.
        self.record: Any = None
        self.shared_as = -1
        # When the connection got its latest share.
        self.turn = -1
        # Whether the pool was emptied while the connection was shared.
        self.is_detached = False

    def __repr__(self) -> str:
        return f"<slot with {self.con!r}>"

    def _link_to(self, permit: Permit) -> _Link:
        # The callback is a function written in C, so that nothing else runs
        # and nothing can go wrong when a permit dies, wherever that happens.
        permit.link = link = _Link(permit, self._report)
        link.slot = self._this
        return link

    def _last_link(self) -> Any:
        link = self._link
        while link is not None and link.successor is not None:
            link = link.successor
        return link

    def new_permit(self) -> Permit:
        """Return a new permit, which makes that of the caller void."""
        last = self._last_link()
        permit = Permit(self)
        link = self._link_to(permit)
        if last is not None:
            last.successor = link  # for those who hold the old one
        self._link = link
        return permit

    def exchange(self, old: Permit) -> Permit | None:
        """Return another permit instead of one that its holder gives back.

        Return None if another thread has reissued the slot before, which
        happens when the garbage collector has found the old permit.
        """
        return self._succeed(old.link)

    def reissue(self) -> Permit | None:
        """Return a new permit if the last one has died, but only once."""
        link = self._last_link()
        if link is None or link() is not None:
            return None
        return self._succeed(link)

    def _succeed(self, link: Any) -> Permit | None:
        """Return the permit that follows another one, but only once."""
        permit = Permit(self)
        successor = self._link_to(permit)
        if link.__dict__.setdefault("successor", successor) is not successor:
            return None
        self._link = successor  # makes the way shorter, for nothing else
        return permit

    @property
    def permit(self) -> Permit | None:
        """The permit of the slot, unless it has died."""
        link = self._last_link()
        return None if link is None else link()

    def detach(self) -> None:
        """Leave the pool."""
        self.is_detached = True
        self._link = None

    @property
    def checkout(self) -> Checkout | None:
        """The checkout that is going on, or was the last one."""
        permit = self.permit
        return None if permit is None else permit.checkout

    # Sharing.

    def join(self, checkout: Checkout) -> Permit:
        """Return a share of the connection."""
        share = Permit(self, checkout, is_share=True)
        link = self._link_to(share)
        link.checkout = checkout
        if self._sharers is None:
            self._sharers = {}
        self._sharers[id(link)] = link
        return share

    def part(self, share: Permit) -> bool:
        """End a share; return whether this call did it."""
        if not end(share.checkout):
            return False
        self._report(self._link_to(share))  # a hint to look at this slot
        return True

    def shares(self) -> list[Permit]:
        """Return the shares of the connection, and count them anew."""
        shares: list[Permit] = []
        sharers = self._sharers
        if sharers is None:
            return shares
        for key, link in sharers.copy().items():
            share = link()
            if share is not None and share.checkout:
                shares.append(share)
            elif sharers.pop(key, None):
                end(link.checkout)
        record = self.record  # which may be taken away meanwhile
        if record is not None:
            record.shared = len(shares)
        return shares


class SlotTable:
    """The slots of a pool by number, and the permits of the empty ones."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        # The links of permits that have died.
        self.lost: deque[Any] = deque()
        self._report = self.lost.append
        # The permits of the empty slots, and of those beyond the limit.
        self.vacant: deque[Permit] = deque()
        self._surplus: deque[Permit] = deque()
        self._slots: dict[int, Slot] = {}
        # Whether the limit was lowered, so that there may be too many slots.
        self._was_lowered = False

    @property
    def size(self) -> int:
        """The number of slots, without those that were given up."""
        return len(self._slots) - len(self._surplus)

    def all(self) -> list[Slot]:
        """Return all slots."""
        return list(self._slots.copy().values())

    def is_oversized(self) -> bool:
        """Return whether there are more slots than the limit allows."""
        return (
            self._was_lowered and self.limit is not None
            and self.size > self.limit)

    def has_empty(self) -> bool:
        """Return whether another connection could be opened."""
        return bool(self.vacant) or self.limit is None or (
            self.size < self.limit)

    def take_empty(self) -> Permit | None:
        """Return the permit of an empty slot, if the limit allows one."""
        permit = pop(self.vacant)
        limit = self.limit
        if permit is None and (limit is None or self.size < limit):
            permit = pop(self._surplus) or self._add(limit)
        return permit

    def take_any(self) -> Permit:
        """Return the permit of an empty slot, if need be beyond the limit."""
        permit = pop(self.vacant) or pop(self._surplus)
        return permit or self._add(None)  # type: ignore[return-value]

    def _add(self, limit: int | None) -> Permit | None:
        while True:
            number = len(self._slots)  # first: it may grow at any moment
            if limit is not None and number - len(self._surplus) >= limit:
                return None
            slot = Slot(self._report, number)
            permit = slot.new_permit()
            if self._slots.setdefault(number, slot) is slot:
                return permit

    def put_back(self, permit: Permit) -> None:
        """Put the permit of an empty slot back, unless it is void."""
        fresh = permit.slot.exchange(permit)
        if fresh is not None:
            self.put_empty(fresh)

    def put_empty(self, permit: Permit) -> bool:
        """Keep a new permit of an empty slot; return if that is surplus."""
        is_surplus = self.limit is not None and self.size > self.limit
        if is_surplus:
            self._surplus.append(permit)
        else:
            self.vacant.append(permit)
        return is_surplus

    def resize(self, limit: int | None) -> None:
        """Change the limit, and give up empty slots beyond it."""
        self.limit = limit
        self._was_lowered = True
        while self.is_oversized():
            permit = pop(self.vacant)
            if permit is None:
                break
            self.put_back(permit)

    def replace(self, slot: Slot) -> None:
        """Add an empty slot instead of one that has left the pool."""
        if self._has(slot):
            fresh = Slot(self._report, slot.number)
            permit = fresh.new_permit()
            self._slots[slot.number] = fresh
            self.put_empty(permit)

    def _has(self, slot: Slot) -> bool:
        return self._slots.get(slot.number) is slot

    def reissued(self) -> Iterator[Permit | Slot]:
        """Yield new permits of lost slots, and slots that lost a share."""
        while self.lost:
            link = first(self.lost)  # others are doing the same
            if link is None:
                return
            found = self._reissue(link)
            if found is not None:
                yield found
            remove(self.lost, link)  # not before, if it is interrupted

    def _reissue(self, link: Any) -> Permit | Slot | None:
        slot_of = getattr(link, "slot", None)
        slot = None if slot_of is None else slot_of()
        if slot is None or not (slot.is_detached or self._has(slot)):
            return None  # it has never become a slot of the pool
        return slot.reissue() or slot
