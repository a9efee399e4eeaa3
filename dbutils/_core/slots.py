"""The places of a pool, and the right to use one.

A place always has one right, an object to which exactly one holder refers:
a queue of the pool, a function at work, or a lease.  Taking it out of a
queue or setting an attribute is one step that nothing can divide.  When the
holder is gone, because a lease was dropped, or because an interrupt has
unwound a function at the worst moment, then the right dies, and what is
left of it, its will, lies in the inbox of the pool.  Whoever finds it there
takes the place over.  So nothing has to be undone, and nothing needs a lock.
"""

from __future__ import annotations

import threading
from time import monotonic
from types import CodeType
from typing import Any, Callable, List, NamedTuple
from weakref import ref

from .._base.callers import caller, where
from .._base.errors import release_frames
from .._base.finalizers import note_lost

__all__ = [
    "CODE", "LAST", "Checkout", "Holder", "Permit", "Slot", "begin", "end",
    "holder_of", "new_checkout"]


class Holder(NamedTuple):
    """Who uses a connection, and since when."""

    # What takes the connection back when its lease is closed or dropped.
    pool: Any
    since: float
    code: CodeType
    instruction: int
    thread: int

    def __str__(self) -> str:
        """Say who has the connection, for how long, and where it was taken."""
        name = next(
            (thread.name for thread in threading.enumerate()
             if thread.ident == self.thread), "a thread that has ended")
        place = where(self.code, self.instruction)
        return f"{name}, for {self.seconds:.3g} seconds, taken at {place}"

    @property
    def seconds(self) -> float:
        """How long the visit has lasted."""
        return monotonic() - self.since


# One use of a connection, from its handing out to its return.  It is a list
# with the fields of the visitor: whoever deletes the last one ends the visit,
# which is one step, and what is over is empty soon after.
Checkout = List[Any]
SINCE, CODE, LAST = 1, 2, 4


def new_checkout(pool: Any = None, depth: int = 1) -> Checkout:
    """Return a visit that begins now, of whoever has called the library.

    depth: how many calls it is away at least
    """
    frame = caller(depth + 1)
    return [
        pool, monotonic(), frame.f_code, frame.f_lasti,
        threading.get_ident()]


def begin(checkout: Checkout) -> None:
    """Count a visit from now on; until now it was a request."""
    try:  # noqa: SIM105 - suppress() would take ten times as long
        checkout[SINCE] = monotonic()
    except IndexError:
        pass  # others have ended it already


def end(checkout: Checkout | None) -> bool:
    """End a visit, if it has begun; tell whether that was not done yet."""
    if not checkout:
        return False
    try:
        del checkout[LAST]
    except IndexError:
        return False
    checkout.clear()
    return True


def holder_of(checkout: Checkout | None) -> Holder | None:
    """Return who uses a connection, None if the visit is over."""
    fields = checkout.copy() if checkout else []
    return Holder(*fields) if len(fields) > LAST else None


class Permit:
    """The right to use a place, for as long as somebody refers to it."""

    __slots__ = (
        "__weakref__",
        "checkout",
        "entrance",
        "is_share",
        "origin",
        "slot",
        "will",
    )

    def __init__(
            self, slot: Slot, checkout: Checkout | None = None,
            is_share: bool = False) -> None:
        self.slot = slot
        self.checkout = checkout
        self.is_share = is_share
        self.will: Any = None
        # Where the place was or could have been idle when somebody began to
        # work on its connection; the pool may have been emptied since.
        self.origin: Any = None
        # What has to be given back with it before the visit begins.
        self.entrance: Any = None

    def __del__(self) -> None:
        """Let the connection be taken back at once, if it is in use.

        If that does not work, it is taken back later; see _Will.  That
        needs it to be really dead, also if an interrupt hits us here.
        """
        try:
            holder = holder_of(getattr(self, "checkout", None))
            if holder is not None and holder.pool is not None:
                pool = holder.pool
                pool._take_back_dropped(self, holder)  # noqa: SLF001 - of pools
        except Warning:  # which the program wants to be an error
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - see above
            raise
        except BaseException as error:  # noqa: BLE001 - nobody is above
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - see above
            release_frames(error)
            note_lost("taking back what was dropped", error)


class _Will(ref):
    """What is left of a right that has died."""

    __slots__ = ("__dict__", "slot")

    # A reference that is weak, since a place must not refer to itself.
    slot: Callable[[], Any]
    # The will of the next right; the first who sets it has the place.
    successor: Any = None
    # The visit, if it is that of one who shares the connection.
    checkout: Checkout | None = None


class Slot:
    """A place in a pool, which lives as long as the pool."""

    __slots__ = (
        "__weakref__", "_report", "_sharers", "_this", "_will", "con",
        "expires", "is_detached", "last_used", "number", "record", "round",
        "shared_as", "turn")

    def __init__(
            self, report: Callable[[Any], None], number: int = -1) -> None:
        # Puts a will into the inbox of the pool.
        self._report = report
        # Which of the places of the pool it is.
        self.number = number
        self._this = ref(self)
        self._will: Any = None
        # The wills of those who share the connection, by their identities.
        self._sharers: dict[int, _Will] | None = None
        # The connection, unless the place is empty, and in which round of
        # the pool it was opened.
        self.con: Any = None
        self.round = 0
        # When the connection has to go, and when it was in use.
        self.expires: float | None = None
        self.last_used = 0.0
        # The record of those who share the connection, and as which of the
        # places it counts that may be shared.
        self.record: Any = None
        self.shared_as = -1
        # When somebody has joined them for the last time.
        self.turn = -1
        # Whether the pool was emptied while the connection was shared.
        self.is_detached = False

    def __repr__(self) -> str:
        return f"<slot with {self.con!r}>"

    def _make(self, permit: Permit) -> _Will:
        # The callback is a function written in C, so that nothing else runs
        # and nothing can go wrong when a right dies, wherever that happens.
        permit.will = will = _Will(permit, self._report)
        will.slot = self._this
        return will

    def _last_will(self) -> Any:
        will = self._will
        while will is not None and will.successor is not None:
            will = will.successor
        return will

    def new_permit(self) -> Permit:
        """Return a new right, which replaces the one that the caller has."""
        last = self._last_will()
        permit = Permit(self)
        will = self._make(permit)
        if last is not None:
            last.successor = will  # for those who hold the old one
        self._will = will
        return permit

    def exchange(self, old: Permit) -> Permit | None:
        """Return another right instead of one that its holder gives back.

        If the garbage collector has found the old one with its holder, others
        may have inherited the place before.  Then this is None.
        """
        permit = Permit(self)
        successor = self._make(permit)
        will = old.will
        if will.__dict__.setdefault("successor", successor) is not successor:
            return None
        self._will = successor  # makes the way shorter, for nothing else
        return permit

    def inherit(self) -> Permit | None:
        """Take the place over if its right has died, and nobody else did."""
        will = self._last_will()
        if will is None or will() is not None:
            return None
        permit = Permit(self)
        successor = self._make(permit)
        if will.__dict__.setdefault("successor", successor) is not successor:
            return None
        self._will = successor  # makes the way shorter, for nothing else
        return permit

    @property
    def permit(self) -> Permit | None:
        """The right to the place, unless it has died."""
        will = self._last_will()
        return None if will is None else will()

    def detach(self) -> None:
        """Let the place not belong to the pool any more."""
        self.is_detached = True
        self._will = None

    @property
    def checkout(self) -> Checkout | None:
        """The visit that is going on, or was the last one."""
        permit = self.permit
        return None if permit is None else permit.checkout

    # Those who share the connection.

    def join(self, checkout: Checkout) -> Permit:
        """Return the right to share the connection."""
        share = Permit(self, checkout, is_share=True)
        will = self._make(share)
        will.checkout = checkout
        if self._sharers is None:
            self._sharers = {}
        self._sharers[id(will)] = will
        return share

    def part(self, share: Permit) -> bool:
        """End a share; tell whether that was not already done."""
        if not end(share.checkout):
            return False
        self._report(self._make(share))  # a hint to look at this place
        return True

    def shares(self) -> list[Permit]:
        """Return the shares that there are now, and count them anew."""
        shares: list[Permit] = []
        sharers = self._sharers
        if sharers is None:
            return shares
        for key, will in sharers.copy().items():
            share = will()
            if share is not None and share.checkout:
                shares.append(share)
            elif sharers.pop(key, None):
                end(will.checkout)
        record = self.record  # which may be taken away meanwhile
        if record is not None:
            record.shared = len(shares)
        return shares
