"""Connecting on behalf of a request that has a deadline.

A helper thread connects, and holds the permit meanwhile.  The request leaves
in time.  A connection that the helper opens after that becomes idle.

This is loaded with the first such request.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar, copy_context
from time import monotonic

from .hints import Any, Callable, NamedTuple, partial, ref
from .opening import HANGS_AFTER, Elsewhere, Late, limits
from .threads import start_thread

__all__ = ["Attempt", "Outcome"]

# In seconds: the time that an attempt has at least, even if it begins just
# before the deadline.
_LEAST_TIME = 0.1
# In seconds: the time between two looks for an idle connection when it hangs.
_LOOK = 0.05
# In seconds: the longest time until a helper has dropped what it had, which it
# only needs if an interrupt has ended it just then.
_TIDYING = 3.0
# In seconds: the least time limit of a driver for one connect.  It is longer
# if the request waits longer.
_LEAST_LIMIT = 10.0

# There is one, also if an interrupt makes Python load this once more.
_limit: ContextVar[float | None] = limits.setdefault(
    "connect", ContextVar("dbutils_limit", default=None))


class Outcome(NamedTuple):
    """The result of an attempt: a connection, or an error."""

    con: Any = None
    error: BaseException | None = None


# The outcomes of an attempt without a helper, or whose connection the request
# has taken, and of an attempt whose request has left.
_ALONE, _LEFT = Outcome(), Outcome()


class Attempt:
    """An attempt to connect, made by a helper thread for a request."""

    least_time = _LEAST_TIME
    least_limit = _LEAST_LIMIT

    def __init__(
            self, connect: Callable[[], Any], permit: Any,
            finish: Callable[[Any, Outcome], None]) -> None:
        """Prepare the attempt.

        finish: is called with the permit and the outcome if the request
            has left
        """
        self.number = permit.slot.number
        self.start = monotonic()
        self._permit = ref(permit)
        self._connect: Any = connect
        self._finish: Any = finish
        # Popping the permit decides whether the helper has it, and setting the
        # only outcome decides whether the request gets that.  Both are atomic.
        self._permits = [permit]
        self._outcomes: dict[int, Outcome] = {}
        self._gate = threading.Lock()
        self._gate.acquire()

    def begin(self, seconds: float) -> bool:
        """Start the helper.  Return whether it was started.

        seconds: the time for which the request waits
        """
        context = copy_context()
        context.run(_limit.set, max(seconds, self.least_limit))
        if start_thread(partial(context.run, self._run), "DBUtils connect"):
            return True
        self._outcomes[0] = _ALONE
        return False

    def _run(self) -> None:
        permit = self._take()
        if permit is None:
            return
        outcome = self._outcome()
        if self._outcomes.setdefault(0, outcome) is not outcome:
            self._finish(permit, outcome)
        # first: nothing may live on here while the request uses it
        del permit, outcome
        self._connect = self._finish = None
        self._gate.release()

    def _take(self) -> Any:
        try:
            return self._permits.pop()
        except IndexError:
            return None

    def _outcome(self) -> Outcome:
        try:
            return Outcome(self._connect())
        except BaseException as error:  # noqa: BLE001 - raised by the request
            return Outcome(error=error)

    def wait(self, deadline: float, is_elsewhere: Callable[[], Any]) -> Any:
        """Wait for the outcome.  Return the connection, or raise an error.

        is_elsewhere: tells whether another connection can be had
        """
        hangs_at = self.start + HANGS_AFTER
        deadline = max(deadline, self.start + self.least_time)
        now, is_over = monotonic(), False
        while not self._outcomes:
            is_over = self._gate.acquire(True, max(min(
                deadline - now, max(hangs_at - now, _LOOK)), 0))
            now = monotonic()
            if now >= deadline or (now >= hangs_at and is_elsewhere()):
                self._outcomes.setdefault(0, _LEFT)
        outcome = self._outcomes[0]
        if outcome is _LEFT:
            raise Late if now >= deadline else Elsewhere
        if not is_over:  # the helper may hold it for another moment
            self._gate.acquire(True, _TIDYING)
        self._outcomes[0] = _ALONE  # the request has taken it
        if outcome.error is None:
            return outcome.con
        try:
            raise outcome.error
        finally:
            del outcome  # or the error would refer to itself

    def is_for(self, permit: Any) -> bool:
        """Return whether the attempt was begun with a permit."""
        return self._permit() is permit

    def leave(self) -> bool:
        """Stop waiting.  Return whether the helper keeps the permit."""
        if not self._outcomes and self._take() is not None:
            self._outcomes[0] = _ALONE  # the helper has not begun
        return self._outcomes.setdefault(0, _LEFT) is _LEFT

    @property
    def is_left(self) -> bool:
        """Return whether a connection is being opened for nobody."""
        return self._outcomes.get(0) is _LEFT and self._connect is not None

    @property
    def is_going_on(self) -> bool:
        """Return whether the connection is still being opened."""
        return self._connect is not None and (
            self._outcomes.get(0, _LEFT) is _LEFT)
