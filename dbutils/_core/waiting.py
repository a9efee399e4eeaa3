"""Requests for connections: first come, first served.

A connection that comes back goes directly to the next waiter, and nobody
overtakes.  A few waiters look now and then for what was lost without notice;
the others do so the more seldom, the longer the queue is.
"""

from __future__ import annotations

import threading
from time import monotonic

from .._base.atomic import first, remove
from .._base.hints import Any, Callable, Sequence

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from typing import TypeVar

    _Own = TypeVar("_Own", bound="Waiter")

__all__ = ["FEW", "NESTED", "Queue", "Waiter"]

# Why one is refused whose thread has a connection.
NESTED = "all connections are in use, one by the same thread"

# In seconds, when a waiter without an answer looks: often if it is the first
# in the queue.  The few that look have a limit.  The others look in case that
# these have died without notice, the more seldom, the longer the queue is, so
# that a crowd does not look more often than a few.
_FIRST_LOOK = 0.05
_NEXT_LOOK = 0.25
_OTHER_LOOK = 0.0125  # for each waiter in the queue
# How many of those that are the first to come look.
FEW = 4


class Waiter:
    """A request that is answered at most once."""

    # It has no __slots__, with which making one would take longer.  Most are
    # as the class says.

    # Whether it can share a connection; its level and its tag, if it has any.
    shareable = False
    request: Any = None
    # Whether it is one of the few that look.
    looks = False
    # Set when it sleeps for longer: the thread, and until when it waits.
    thread: int | None = None
    deadline: float | None = None
    # Whether the thread has a connection of the pool, once that is known.
    is_holder: bool | None = None
    # Whether it was in line before.
    returns = False
    # Why it must not wait any longer, if others cannot end that.
    deadlock: str | None = None
    # Since when it is the next one to be served, as far as it knows.
    first_since: float | None = None

    def __init__(self) -> None:
        self.since = monotonic()
        # Empty as long as it waits.  The first thread that sets the only item
        # has answered: that is one step, so no answer is lost on its way.
        self.answer: dict[int, Any] = {}
        self.gate = gate = threading.Lock()
        gate.acquire()

    def ask(
            self: _Own, shareable: bool, request: Any,
            since: float | None) -> _Own:
        """Note what the request wants; return the waiter.

        since: the time of the request, if it did not come just now
        """
        self.shareable, self.request = shareable, request
        if since is not None:
            self.since, self.returns = since, True
        return self

    @property
    def permit(self) -> Any:
        """The answer; None if there is none."""
        return self.answer.get(0)

    def grant(self, permit: Any) -> bool:
        """Answer with a permit; return whether it was accepted.

        It can have had the same one before, from another thread.
        """
        if self.answer or self.answer.setdefault(0, permit) is not permit:
            return False
        self.nudge()
        return True

    def give_up(self) -> bool:
        """Refuse later answers; return whether there was none yet."""
        return self.answer.setdefault(0, None) is None

    def nudge(self) -> None:
        """Wake the waiter up, with an answer or without."""
        try:  # noqa: SIM105 - suppress() would take ten times as long
            self.gate.release()
        except RuntimeError:
            pass  # it is being woken up already

    def wait(self, seconds: float) -> bool:
        """Wait to be woken up, up to a time; return whether it was.

        It is woken up with an answer, or to look by itself.
        """
        return self.gate.acquire(True, seconds)


class Queue:
    """The waiters, in the order of service.

    A waiter belongs to the function that waits.  When that is interrupted,
    the waiter is gone, and with it the permit that it was granted.
    """

    def __init__(self, links: list[Any]) -> None:
        """Set up the queue.

        links: an empty list, for weak references to the waiters
        """
        self.links = links
        # It brings the waiters into another order, if it is set.
        self.rank: Callable[[list[Waiter]], Sequence[Waiter]] | None = None
        self.first_look = _FIRST_LOOK
        self.next_look = _NEXT_LOOK
        self.other_look = _OTHER_LOOK

    def __len__(self) -> int:
        return len(self.waiters())

    def waiters(self) -> list[Waiter]:
        """Return the waiters as they came, and drop dead links."""
        waiters = []
        for link in list(self.links):
            waiter = link()
            if waiter is not None and not waiter.answer:
                waiters.append(waiter)
            else:
                self._tidy(link, waiter)
        return waiters

    def in_order(self) -> Sequence[Waiter]:
        """Return the waiters in the order of service."""
        waiters = self.waiters()
        return waiters if self.rank is None else self.rank(waiters)

    def first(self) -> Waiter | None:
        """Return the waiter to be served next, if there is one."""
        if self.rank is not None:
            return next(iter(self.in_order()), None)
        while self.links:
            link = first(self.links)
            waiter: Waiter | None = link and link()
            if waiter is not None and not waiter.answer:
                return waiter
            self._tidy(link, waiter)
        return None

    def _tidy(self, link: Any, waiter: Waiter | None) -> None:
        """Drop the link of a waiter that has died, or that was answered.

        The thread that has answered may have been interrupted before it
        could wake the waiter up.
        """
        if waiter is not None:
            waiter.nudge()
        self.drop(link)

    def add(self, link: Any) -> None:
        """Add a waiter that was in line before, in front of later ones."""
        since = link().since
        earlier = [
            waiter for waiter in self.waiters() if waiter.since <= since]
        self.links.insert(len(earlier), link)

    def drop(self, link: Any) -> None:
        """Take a waiter out of the queue."""
        waiter = link and link()
        if waiter is None or waiter.looks:
            self.pass_on()  # before: an interrupt must not prevent it
        remove(self.links, link)

    def pass_on(self) -> None:
        """Make the last waiter look, since one that looks leaves the queue.

        It has the longest wait before it, so that this is seldom needed.  One
        that only comes does not look yet: it may have counted those before it
        while they were still there.
        """
        for link in reversed(list(self.links)):
            waiter = link()
            if waiter is None or waiter.answer:
                continue
            if not waiter.looks:
                waiter.looks = True
                waiter.nudge()
            if not waiter.answer:  # otherwise it may have left meanwhile
                return

    def pause(self, link: Any, deadline: float | None) -> float:
        """Return for how many seconds a waiter sleeps at most."""
        waiter = link()
        pause = self.other_look * len(self.links)
        if waiter.looks and pause > self.next_look:
            pause = self.next_look
        if first(self.links) is link:
            pause = self.first_look
        if deadline is not None:
            left = deadline - monotonic()
            # after it, the waiter knows that there will be a connection
            pause = min(pause, left if left > 0 else self.first_look)
        return pause

    def nudge(self) -> None:
        """Wake the first waiter up, to do what others had to leave undone."""
        waiter = self.first()
        if waiter is not None:
            waiter.nudge()

    def refuse_all(self) -> None:
        """End all waits in vain."""
        for waiter in self.waiters():
            waiter.nudge()  # before: an interrupt must not leave it asleep
            waiter.give_up()


