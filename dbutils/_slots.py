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
from collections import deque
from time import monotonic
from typing import Any, Callable
from weakref import ref

from ._callers import where

__all__ = ["Right", "Slot", "Visit"]


class Visit(list):
    """One use of a connection, from its handing out to its return.

    Whoever pops the only item ends it: popping is atomic, and looking
    whether the list is empty costs next to nothing.
    """

    __slots__ = ("place", "since", "thread", "was_reported")

    def __init__(self, thread: int, place: Any) -> None:
        self.append(True)
        self.thread = thread
        self.place = place
        self.since = monotonic()
        self.was_reported = False

    def __str__(self) -> str:
        """Say who has the connection, for how long, and where it was taken."""
        name = next(
            (thread.name for thread in threading.enumerate()
             if thread.ident == self.thread), "a thread that has ended")
        place = self.place and where(self.place)
        return f"{name}, for {self.seconds:.3g} seconds, taken at {place}"

    @property
    def seconds(self) -> float:
        """How long the visit has lasted."""
        return monotonic() - self.since

    @property
    def is_over(self) -> bool:
        """Whether the connection does not belong to the visitor any more."""
        return not self

    def end(self) -> bool:
        """End the visit; tell whether that was not already done."""
        try:
            self.pop()
        except IndexError:
            return False
        return True


class Right:
    """The right to use a place, for as long as somebody refers to it."""

    __slots__ = ("__weakref__", "is_share", "slot", "visit")

    def __init__(
            self, slot: Slot, visit: Visit | None = None,
            is_share: bool = False) -> None:
        self.slot = slot
        self.visit = visit
        self.is_share = is_share

    @property
    def is_given_up(self) -> bool:
        """Whether the garbage collector has told already that it died."""
        return not self.is_share and self.slot.right is not self


def _nowhere() -> None:
    """Stand for the reference to a place."""


class _Will(ref):
    """What is left of a right that has died."""

    # A reference that is weak, since a place must not refer to itself.
    slot: Callable[[], Any] = staticmethod(_nowhere)
    visit: Visit | None = None
    # The will of the next right; the first who sets it has the place.
    heir: Any = None


class Slot:
    """A place in a pool, which lives as long as the pool."""

    __slots__ = (
        "__weakref__", "_inbox", "_sharers", "_this", "_will", "alarm",
        "con", "expires", "is_detached", "last_used", "record", "round")

    def __init__(
            self, inbox: deque[Any], alarm: Callable[[], None]) -> None:
        self._inbox = inbox
        self._this = ref(self)
        # Wakes up somebody who looks into the inbox.
        self.alarm = alarm
        self._will: Any = None
        # The wills of those who share the connection, by their identities.
        self._sharers: dict[int, _Will] = {}
        # The connection, unless the place is empty, and in which round of
        # the pool it was opened.
        self.con: Any = None
        self.round = 0
        # When the connection has to go, and when it was in use.
        self.expires: float | None = None
        self.last_used = 0.0
        # The record of those who share the connection.
        self.record: Any = None
        # Whether the pool was emptied while the connection was shared.
        self.is_detached = False

    def __repr__(self) -> str:
        return f"<slot with {self.con!r}>"

    def _make(self, right: Right) -> _Will:
        # The callback is a function written in C, so that nothing else runs
        # and nothing can go wrong when a right dies, wherever that happens.
        will = _Will(right, self._inbox.append)
        will.slot = self._this
        return will

    def _last_will(self) -> Any:
        will = self._will
        while will is not None and will.heir is not None:
            will = will.heir
        return will

    def new_right(self) -> Right:
        """Return a new right, which replaces the one that the caller has."""
        last = self._last_will()
        right = Right(self)
        will = self._make(right)
        if last is not None:
            last.heir = will  # for those who hold the old one
        self._will = will
        return right

    def inherit(self) -> Right | None:
        """Take the place over if its right has died, and nobody else did."""
        will = self._last_will()
        if will is None or will() is not None:
            return None
        right = Right(self)
        heir = self._make(right)
        if will.__dict__.setdefault("heir", heir) is not heir:
            return None
        self._will = heir  # makes the way shorter, for nothing else
        if will.visit is not None:
            will.visit.end()
        return right

    def hand_out(self, right: Right, visit: Visit) -> None:
        """Begin a visit."""
        will = self._will if self._will.heir is None else self._last_will()
        will.visit = right.visit = visit

    @property
    def right(self) -> Right | None:
        """The right to the place, unless it has died."""
        will = self._last_will()
        return None if will is None else will()

    def detach(self) -> None:
        """Let the place not belong to the pool any more."""
        self.is_detached = True
        self._will = None

    @property
    def visit(self) -> Visit | None:
        """The visit that is going on, or was the last one."""
        will = self._last_will()
        return None if will is None else will.visit

    # Those who share the connection.

    def join(self, visit: Visit) -> Right:
        """Return the right to share the connection."""
        share = Right(self, visit, is_share=True)
        will = self._make(share)
        will.visit = visit
        self._sharers[id(will)] = will
        return share

    def part(self, share: Right) -> bool:
        """End a share; tell whether that was not already done."""
        if share.visit is None or not share.visit.end():
            return False
        self._inbox.append(self._make(share))  # a hint to look at this place
        return True

    def shares(self) -> list[Right]:
        """Return the shares that there are now, and count them anew."""
        shares = []
        for key, will in self._sharers.copy().items():
            share = will()
            if share is not None and not share.visit.is_over:
                shares.append(share)
            elif self._sharers.pop(key, None):
                will.visit.end()  # type: ignore[union-attr]
        record = self.record  # which may be taken away meanwhile
        if record is not None:
            record.shared = len(shares)
        return shares
