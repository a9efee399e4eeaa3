"""Connecting for requests that do not wait longer than they said.

A driver cannot be told to connect within a fraction of a second, and some
cannot be told anything.  So a helper thread connects for a request that has a
deadline, and has the place meanwhile.  The request leaves in time.  What the
helper opens after that becomes idle.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar, copy_context
from functools import partial
from time import monotonic
from typing import Any, Callable, Iterator, NamedTuple
from weakref import ref

from .threads import start_thread

__all__ = [
    "HANGS_AFTER", "Attempt", "Attempts", "Elsewhere", "Late", "Outcome",
    "time_limit"]

# In seconds, the time that an attempt has at least, also if it begins just
# before the deadline, and the time after which it is taken to hang.
_LEAST_TIME = 0.1
HANGS_AFTER = 0.5
# In seconds, the time between two looks for an idle connection then.
_LOOK = 0.05
# In seconds, after which a driver gives a connect up that nobody answers, or
# later if the request waits longer.
_LEAST_LIMIT = 10.0

_limit: ContextVar[float | None] = ContextVar("dbutils_limit", default=None)


def time_limit() -> float | None:
    """Return the seconds after which a driver is to give a connect up.

    This is None where it may take as long as it takes.
    """
    return _limit.get()


class Late(Exception):  # noqa: N818 - what happened, not an error as such
    """The deadline has come before the connection."""


class Elsewhere(Exception):  # noqa: N818 - good news, and no error
    """There is a connection to be had without opening one."""


class Outcome(NamedTuple):
    """What comes of an attempt: a connection, or the error."""

    con: Any = None
    error: BaseException | None = None


# The outcomes of an attempt that has no helper, and of one whose helper has
# nobody to hand the connection to.
_ALONE, _LEFT = Outcome(), Outcome()


class Attempt:
    """An attempt to connect, made by a helper thread for a request."""

    least_time = _LEAST_TIME
    least_limit = _LEAST_LIMIT

    def __init__(
            self, connect: Callable[[], Any], right: Any,
            finish: Callable[[Any, Outcome], None]) -> None:
        """Prepare the attempt.

        finish: gets the right and the outcome if the request has left
        """
        self.number = right.slot.number
        self.start = monotonic()
        self._right = ref(right)
        self._connect: Any = connect
        self._finish: Any = finish
        # Popping the right decides whether there is a helper, and setting the
        # only outcome whether the request gets it: both are atomic.
        self._hands = [right]
        self._outcomes: dict[int, Outcome] = {}
        self._gate = threading.Lock()
        self._gate.acquire()

    def begin(self, seconds: float) -> bool:
        """Start the helper for a request that waits for so many seconds.

        Return whether there is one.
        """
        context = copy_context()
        context.run(_limit.set, max(seconds, self.least_limit))
        if start_thread(partial(context.run, self._run), "DBUtils connect"):
            return True
        self._outcomes[0] = _ALONE
        return False

    def _run(self) -> None:
        right = self._take()
        if right is None:
            return
        outcome = self._outcome()
        if self._outcomes.setdefault(0, outcome) is not outcome:
            self._finish(right, outcome)
        # first: nothing here may outlive what the request does with it
        del right, outcome
        self._connect = self._finish = None
        self._gate.release()

    def _take(self) -> Any:
        try:
            return self._hands.pop()
        except IndexError:
            return None

    def _outcome(self) -> Outcome:
        try:
            return Outcome(self._connect())
        except BaseException as error:  # noqa: BLE001 - raised by the request
            return Outcome(error=error)

    def wait(self, deadline: float, is_elsewhere: Callable[[], Any]) -> Any:
        """Return the connection, or raise why there is none."""
        hangs_at = self.start + HANGS_AFTER
        deadline = max(deadline, self.start + self.least_time)
        now = monotonic()
        while not self._outcomes:
            self._gate.acquire(True, max(min(
                deadline - now, max(hangs_at - now, _LOOK)), 0))
            now = monotonic()
            if now >= deadline or (now >= hangs_at and is_elsewhere()):
                self._outcomes.setdefault(0, _LEFT)
        outcome = self._outcomes[0]
        if outcome is _LEFT:
            raise Late if now >= deadline else Elsewhere
        self._outcomes[0] = _ALONE  # it is in the hands of the request now
        if outcome.error is None:
            return outcome.con
        try:
            raise outcome.error
        finally:
            del outcome  # or the error would refer to itself

    def is_for(self, right: Any) -> bool:
        """Return whether this is the attempt of whoever had that right."""
        return self._right() is right

    def leave(self) -> bool:
        """Stop waiting; return whether the helper keeps the place."""
        if not self._outcomes and self._take() is not None:
            self._outcomes[0] = _ALONE  # the helper has not begun
        return self._outcomes.setdefault(0, _LEFT) is _LEFT

    @property
    def is_left(self) -> bool:
        """Whether nobody waits for a connection that is still being opened."""
        return self._outcomes.get(0) is _LEFT and self._connect is not None

    @property
    def is_going_on(self) -> bool:
        """Whether the connection is still being opened."""
        return self._connect is not None and (
            self._outcomes.get(0, _LEFT) is _LEFT)


class Attempts:
    """The attempts of a pool, held weakly, so that none can be forgotten."""

    def __init__(self) -> None:
        self._links: dict[int, Any] = {}

    def add(self, attempt: Attempt) -> None:
        """Note an attempt."""
        self._links[attempt.number] = ref(attempt)

    def leave(self, right: Any) -> bool:
        """Stop waiting; return whether a helper has the place.

        A helper that was ready in the meantime has made the right void.
        """
        attempt = self._links.get(right.slot.number, _nothing)()
        return attempt is not None and attempt.is_for(right) and (
            attempt.leave())

    def _going_on(self) -> Iterator[Attempt]:
        for key, link in self._links.copy().items():
            attempt = link()
            if attempt is not None and attempt.is_going_on:
                yield attempt
            elif self._links.get(key) is link:
                self._links.pop(key, None)

    def left(self) -> int:
        """Return how many connects hang that nobody waits for."""
        if not self._links:
            return 0
        return sum(attempt.is_left for attempt in self._going_on())

    def ages(self) -> list[float]:
        """Return for how many seconds each has gone on, the longest first."""
        now = monotonic()
        return sorted(
            (now - attempt.start for attempt in self._going_on()),
            reverse=True)


def _nothing() -> None:
    """Stand for a reference to what is not there."""
