"""Waiting requests, in the order of their coming."""

from __future__ import annotations

import threading
from collections import deque
from weakref import ref

from .._base.atomic import first, remove
from .._base.hints import Any, Callable, Sequence

__all__ = ["WaitQueue", "Waiter"]


class Waiter:
    """A request for a connection that is answered at most once."""

    __slots__ = (
        "__weakref__",
        "_gate",
        "answers",
        "checkout",
        "is_queued",
        "request",
        "shareable",
    )

    def __init__(
            self, checkout: Any, shareable: bool, request: Any = None) -> None:
        self.checkout = checkout
        self.shareable = shareable
        # The level and the tag of the request, if it has any.
        self.request = request
        # Whether it may be in a queue.
        self.is_queued = False
        # Empty as long as it waits.  The first thread that sets the only item
        # has answered: that is atomic, so no answer is lost on its way.
        self.answers: dict[int, Any] = {}
        self._gate = threading.Lock()
        self._gate.acquire()

    @property
    def is_waiting(self) -> bool:
        """Whether there is no answer yet."""
        return not self.answers

    @property
    def permit(self) -> Any:
        """The answer; None if there is none."""
        return self.answers.get(0)

    def grant(self, permit: Any) -> bool:
        """Answer with a permit; return whether it was accepted."""
        if self.answers.setdefault(0, permit) is not permit:
            return False
        self.nudge()
        return True

    def give_up(self) -> bool:
        """Refuse later answers; return whether there was none yet."""
        return self.answers.setdefault(0, None) is None

    def nudge(self) -> None:
        """Wake the waiter up, with an answer or without."""
        try:  # noqa: SIM105 - suppress() would take ten times as long
            self._gate.release()
        except RuntimeError:
            pass  # it is being woken up already

    def wait(self, seconds: float) -> bool:
        """Wait to be woken up, up to a time; return whether it is answered."""
        self._gate.acquire(True, seconds)
        return bool(self.answers)


class WaitQueue:
    """The order of service: first come, first served, or as ranked.

    A waiter belongs to the function that waits.  When that is interrupted,
    the waiter is gone, and with it the permit that it was granted.
    """

    def __init__(self) -> None:
        # Weak references to the waiters; empty only if no request waits.
        self.queue: deque[Any] = deque()
        # It brings them into another order, if it is set.
        self.rank: Callable[[list[Waiter]], Sequence[Waiter]] | None = None

    def __len__(self) -> int:
        return len(self.in_order())

    def join(self, waiter: Waiter) -> None:
        """Add a waiter at the end."""
        waiter.is_queued = True  # first, in case that this is interrupted
        self.queue.append(ref(waiter))

    def drop(self, waiter: Waiter) -> None:
        """Take a waiter out of the queue, if it is still there."""
        if waiter.is_queued:
            remove(self.queue, ref(waiter))
            waiter.is_queued = False

    def in_order(self) -> Sequence[Waiter]:
        """Return the waiters in the order of service."""
        waiters = self._as_they_came()
        return waiters if self.rank is None else self.rank(waiters)

    def _as_they_came(self) -> list[Waiter]:
        waiters = []
        for link in self.queue.copy():
            waiter = link()
            if waiter is not None and waiter.is_waiting:
                waiters.append(waiter)
            else:
                remove(self.queue, link)
        return waiters

    def first(self) -> Waiter | None:
        """Return the waiter to be served next, if there is one."""
        if self.rank is not None:
            return next(iter(self.in_order()), None)
        while self.queue:
            link = first(self.queue)
            waiter = link and link()
            if waiter is not None and not waiter.answers:
                return waiter
            remove(self.queue, link)
        return None

    def nudge(self) -> None:
        """Wake the first waiter up, to do what others had to leave undone."""
        waiter = self.first()
        if waiter is not None:
            waiter.nudge()
