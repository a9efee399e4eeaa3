"""Requests for connections: first come, first served."""

from __future__ import annotations

from time import monotonic

from .._base.hints import Any, Callable
from .._base.opening import Elsewhere, Late
from .._base.threads import is_ending
from .keeper import Keeper
from .opener import Opener
from .quotas import Request
from .slots import Checkout, Holder, Permit, new_checkout
from .stats import PoolStats, late_text
from .waiters import Waiter

__all__ = ["PoolClosed", "PoolTimeout", "Requests"]

# In seconds, when a waiter without an answer looks for what was lost without
# notice: often if it is the first in the queue.
_FIRST_LOOK = 0.05
_OTHER_LOOK = 0.25
# How many calls lie between a program and the beginning of its checkout, at
# least.
_DEPTH = 3


class PoolTimeout(Exception):  # noqa: N818 - no error as such
    """No connection is available, and the request does not wait longer."""

    def __init__(
            self, stats: PoolStats, waited: float, holders: list[Holder],
            reason: str | None, ages: list[float]) -> None:
        """Note what the error of the pool explains."""
        super().__init__(stats, waited, holders, reason, ages)
        self.stats = stats


class PoolClosed(Exception):  # noqa: N818 - no error as such
    """The pool was shut down."""


class Requests:
    """Serves requests at once, or when it is their turn."""

    def __init__(self, keeper: Keeper, opener: Opener) -> None:
        self._keeper = keeper
        self._ledger = keeper.ledger
        self._opener = opener
        self.first_look = _FIRST_LOOK
        self.other_look = _OTHER_LOOK

    def acquire(
            self, connect: Callable[[], Any], timeout: float | None,
            shareable: bool, pool: Any, request: Request | None) -> Permit:
        """Return the permit of a connection that is ready for use."""
        if self._ledger.is_closed:
            raise PoolClosed
        shareable = shareable and self._ledger.limits.maxshared > 0
        start = monotonic()
        deadline = start + timeout if timeout else None
        permit = None
        while True:
            checkout = new_checkout(pool, _DEPTH)
            try:
                permit = self._find(checkout, shareable, request, timeout)
                return self._opener.ready(
                    permit, connect, checkout, shareable, deadline)
            except Elsewhere:
                if deadline is not None:
                    timeout = max(deadline - monotonic(), 0)
            except Late:
                raise self._refusal(
                    monotonic() - start, late_text(),
                ) from self._keeper.throttle.last_error()
            finally:
                permit = None  # which the traceback of an attempt could keep

    def _find(
            self, checkout: Checkout, shareable: bool, request: Request | None,
            timeout: float | None) -> Permit:
        """Return the permit of a slot, waiting for it if need be."""
        ledger = self._ledger
        if ledger.lost:
            self._keeper.reclaim()
        if ledger.fast_way is not ledger.idle:
            ledger.open_fast_way()
        permit = None
        if ledger.may_be_taken():
            # A waiter that comes after we have seen an empty queue looks
            # itself for what is idle, so no waiter is overtaken.
            permit = ledger.take_for(checkout, shareable, request)
        if permit is not None:
            return permit
        return self._wait(Waiter(checkout, shareable, request), timeout)

    def _wait(self, waiter: Waiter, timeout: float | None) -> Permit:
        """Return the permit that a waiter is granted in its turn."""
        start = monotonic()
        permit = self._in_turn(waiter, timeout)
        waited = monotonic() - start
        if self._keeper.observers:
            self._keeper.notify("waited", waited, permit is not None)
        if permit is not None:
            return permit
        if self._ledger.is_closed:
            raise PoolClosed
        policy = self._ledger.policy
        raise self._refusal(
            waited, None if policy is None else policy.refusal(waiter.request))

    def _in_turn(self, waiter: Waiter, timeout: float | None) -> Any:
        """Wait for the permit, and return it, or None if that was in vain."""
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
        if waiter.is_queued:  # the thread that served it will do the same
            ledger.leave_queue(waiter)
        return waiter.permit

    def _wait_a_bit(
            self, waiter: Waiter, timeout: float | None,
            waited: float) -> None:
        """Wait until woken up, or until it is time to look again."""
        waiters = self._ledger.waiters
        is_first = waiters.first() is waiter
        pause = self.first_look if is_first else self.other_look
        if timeout is not None and waited < timeout:
            pause = min(pause, timeout - waited)
        elif timeout is not None and not self._is_coming(waiter):
            waiter.give_up()
        if self._ledger.is_closed:
            waiter.give_up()
        if not (waiter.answers or waiter.wait(pause)):
            if is_ending():  # no other thread will give anything back
                waiter.give_up()
            self._keeper.reclaim()
            self._keeper.serve()
            if self._ledger.barging:  # which may have lasted long enough
                self._ledger.update_fast_way()

    def _is_coming(self, waiter: Waiter) -> bool:
        """Return whether there will be a connection in a moment."""
        reset_workers = self._keeper.reset_workers
        return self._ledger.is_coming(waiter) or (
            reset_workers is not None and reset_workers.is_busy())

    def _withdraw(self, waiter: Waiter) -> None:
        """Take back a request whose wait was interrupted."""
        waiter.give_up()
        self._ledger.leave_queue(waiter)
        if waiter.permit is not None:
            self._keeper.put_back_unused(waiter.permit)
        self._keeper.serve()

    def close(self) -> None:
        """End all waits, since the pool is shut down."""
        for waiter in self._ledger.waiters.in_order():
            if waiter.give_up():
                waiter.nudge()

    def _refusal(self, waited: float, reason: str | None) -> PoolTimeout:
        self._keeper.refused.step()
        return PoolTimeout(
            self._keeper.stats(), waited, self._keeper.holders(), reason,
            self._keeper.throttle.attempts.ages())
