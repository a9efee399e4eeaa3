"""Waiting for a place, first come, first served."""

from __future__ import annotations

from time import monotonic
from typing import Any

from .._base.threads import is_ending
from .keeper import Keeper
from .ledger import Ledger
from .slots import Permit
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
        self.first_look = _FIRST_LOOK

    def end(self) -> None:
        """Let nobody wait any more, since the pool is shut down."""
        for waiter in self._ledger.waiters.in_order():
            if waiter.give_up():
                waiter.nudge()

    def wait(self, waiter: Waiter, timeout: float | None) -> Permit | None:
        """Return the place that a request is granted in its turn, if any."""
        ledger, start = self._ledger, monotonic()
        try:
            ledger.queue_up(waiter)
            self._keeper.serve()
            if not ledger.may_queue(waiter):
                timeout = 0
            while not waiter.answers:
                self._wait_a_bit(waiter, timeout, monotonic() - start)
        except BaseException:
            self._withdraw(waiter)
            raise
        if waiter.is_queued:  # who has served it has not come to that yet
            ledger.leave_queue(waiter)
        permit: Any = waiter.permit
        return permit

    def _wait_a_bit(
            self, waiter: Waiter, timeout: float | None,
            waited: float) -> None:
        """Wait until woken up, or until it is time to look again."""
        waiters = self._ledger.waiters
        is_first = waiters.first() is waiter
        pause = self.first_look if is_first else _OTHER_LOOK
        if timeout is not None and waited < timeout:
            pause = min(pause, timeout - waited)
        elif timeout is not None and not self._is_coming(waiter):
            waiter.give_up()
        if self._ledger.is_closed:
            waiter.give_up()
        if not (waiter.answers or waiter.wait(pause)):
            if is_ending():  # nobody else will give anything back
                waiter.give_up()
            self._keeper.reclaim()
            self._keeper.serve()
            if self._ledger.barging:  # which may have been for long enough
                self._ledger.settle_ways()

    def _is_coming(self, waiter: Waiter) -> bool:
        """Tell whether there will be a connection in a moment."""
        reset_workers = self._keeper.reset_workers
        return self._ledger.is_coming(waiter) or (
            reset_workers is not None and reset_workers.is_busy())

    def _withdraw(self, waiter: Waiter) -> None:
        """Let a request go whose wait was interrupted."""
        waiter.give_up()
        self._ledger.leave_queue(waiter)
        if waiter.permit is not None:
            self._keeper.unused(waiter.permit)
        self._keeper.serve()
