"""Those who want a connection, in the order of their coming."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from threading import Lock
from typing import Any

from ._errors import Figures

__all__ = ["WaitQueue", "Waiter"]


class Waiter:
    """A request for a connection that is answered at most once.

    The answer is a slot, or a refusal that tells the state of the pool.
    """

    __slots__ = (
        "_chance", "_gate", "patient", "refusal", "shareable", "slot")

    def __init__(self, shareable: bool, patient: bool) -> None:
        self.shareable = shareable
        self.patient = patient
        self.slot: Any = None
        self.refusal: Figures | None = None
        # Whoever pops the only item may answer: popping is atomic.
        self._chance = [True]
        self._gate = Lock()
        self._gate.acquire()

    def _claim(self) -> bool:
        try:
            return self._chance.pop()
        except IndexError:
            return False

    def grant(self, slot: Any) -> bool:
        """Answer with a slot; tell whether the waiter took it."""
        if not self._claim():
            return False
        self.slot = slot
        self.nudge()
        return True

    def refuse(self, figures: Figures) -> None:
        """Answer that there is nothing to be had."""
        if self._claim():
            self.refusal = figures
            self.nudge()

    def nudge(self) -> None:
        """Wake the waiter up, be it with an answer or without."""
        with suppress(RuntimeError):  # it is being woken up already
            self._gate.release()

    def give_up(self) -> bool:
        """Take no answer any more; tell whether there was none yet."""
        return self._claim()

    def wait(self) -> bool:
        """Wait until woken up; tell whether there is an answer."""
        self._gate.acquire()
        return self.slot is not None or self.refusal is not None


class WaitQueue:
    """The order of service: first come, first served.

    All its methods need the lock of the pool, except for the last one and
    the truth value.
    """

    def __init__(self) -> None:
        self._queue: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, waiter: Waiter) -> None:
        """Let a waiter queue up."""
        self._queue.append(waiter)

    def drop(self, waiter: Waiter) -> None:
        """Take a waiter out of the queue, if it is still there."""
        if waiter in self._queue:
            self._queue.remove(waiter)

    def in_order(self) -> tuple[Waiter, ...]:
        """Return the waiters, the one to be served next first."""
        return tuple(self._queue)

    def nudge(self) -> None:
        """Wake all waiters up, to do what others had to leave undone."""
        for waiter in tuple(self._queue):  # a copy, made at once
            waiter.nudge()
