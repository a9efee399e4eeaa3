"""Waiting for a place, first come, first served."""

from __future__ import annotations

from time import monotonic
from typing import Any

from .._base.threads import is_ending
from .keeper import Keeper
from .ledger import Ledger
from .slots import Right
from .waiters import Waiter

__all__ = ["Queue"]

# After so many seconds without an answer, who waits looks for what nobody
# else has noticed: often if it is the first in turn.
_FIRST_LOOK = 0.05
_OTHER_LOOK = 0.25


class Queue:
    """Lets requests wait until there is a place for them."""

    def __init__(self, ledger: Ledger, keeper: Keeper) -> None:
        self._ledger = ledger
        self._keeper = keeper

    def end(self) -> None:
        """Let nobody wait any more, since the pool is shut down."""
        for waiter in self._ledger.waiters.in_order():
            if waiter.give_up():
                waiter.nudge()

    def wait(self, waiter: Waiter, patience: float | None) -> Right | None:
        """Return the place that a request is granted in its turn, if any."""
        ledger, start = self._ledger, monotonic()
        try:
            ledger.queue_up(waiter)
            self._keeper.serve()
            if not ledger.may_queue(waiter):
                patience = 0
            while not waiter.answers:
                self._wait_a_bit(waiter, patience, monotonic() - start)
        except BaseException:
            self._withdraw(waiter)
            raise
        if waiter.is_queued:  # who has served it has not come to that yet
            ledger.leave_queue(waiter)
        right: Any = waiter.right
        return right

    def _wait_a_bit(
            self, waiter: Waiter, patience: float | None,
            waited: float) -> None:
        """Wait until woken up, or until it is time to look again."""
        waiters = self._ledger.waiters
        pause = _FIRST_LOOK if waiters.first() is waiter else _OTHER_LOOK
        if patience is not None and waited < patience:
            pause = min(pause, patience - waited)
        elif patience is not None and not self._is_coming(waiter):
            waiter.give_up()
        if self._ledger.is_over:
            waiter.give_up()
        if not (waiter.answers or waiter.wait(pause)):
            if is_ending():  # nobody else will give anything back
                waiter.give_up()
            self._keeper.settle()
            self._keeper.serve()
            if self._ledger.barging:  # which may have been for long enough
                self._ledger.settle_ways()

    def _is_coming(self, waiter: Waiter) -> bool:
        """Tell whether there will be a connection in a moment."""
        cleaner = self._keeper.cleaner
        return self._ledger.is_coming(waiter) or (
            cleaner is not None and cleaner.is_busy())

    def _withdraw(self, waiter: Waiter) -> None:
        """Let a request go whose wait was interrupted."""
        waiter.give_up()
        self._ledger.leave_queue(waiter)
        if waiter.right is not None:
            self._keeper.unused(waiter.right)
        self._keeper.serve()
