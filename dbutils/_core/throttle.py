"""Attempts to connect while the server refuses connections.

A server that comes back must not be overrun, and waiting requests are to be
served at once.  So each short span of time has at most one attempt, made by
the first thread that claims it.  All other requests wait for its outcome if
they can wait, and otherwise get the error of the last attempt.
"""

from __future__ import annotations

import threading
from os import urandom
from time import monotonic

from .._base.atomic import Count
from .._base.hints import Any, Callable
from .._base.opening import HANGS_AFTER, Attempts, Elsewhere, Late

__all__ = ["ConnectThrottle", "Elsewhere"]

# In seconds, the time between two attempts, and by how much it varies.
_SPAN = 0.05
_JITTER = 0.005
# The number of attempts that may fail before they are spaced.
_FREE = 5
# The number of connects without a waiting request that may hang.
_HANGING = 20


class ConnectThrottle:
    """The state of the server, as far as a pool knows it."""

    def __init__(
            self, is_outage: Callable[[BaseException], bool],
            observers: Any = ()) -> None:
        """Set up the throttle.

        is_outage: tells whether another attempt can help after an error
        observers: are told of errors, outages and new sessions
        """
        self.observers = observers
        self.clock = monotonic
        self._is_outage = is_outage
        # How often a session was replaced while its connection was in use.
        self.reconnects = Count()
        # Why the last attempt failed; None if it did not.
        self.error: Exception | None = None
        self._failures = 0
        self._start = 0.0
        # When the outage began of which observers were told.  The thread that
        # sets or pops the only item tells them.
        self._outage: dict[int, float] = {}
        # The spans by number, with the object that has claimed each.
        self._claims: dict[int, object] = {}
        self._over = threading.Event()
        # How many pings have failed in a row; after too many, new connections
        # are asked as well.
        self.failed_pings = 0
        # The work of helpers for requests that have a deadline.
        self.attempts = Attempts()
        self.most_hanging = _HANGING

    def connect(
            self, connect: Callable[[], Any], deadline: float | None,
            is_elsewhere: Callable[[], Any]) -> Any:
        """Return a new connection, as soon as the server is there again.

        deadline: when the wait for the server ends; None means no wait, but
            an attempt may be made
        is_elsewhere: tells whether another connection is available meanwhile,
            which ends the wait
        """
        while True:
            if not self._may_try(deadline):
                self._wait_or_raise(deadline)
                if is_elsewhere():
                    raise Elsewhere
                continue
            try:
                con = self._try(connect)
            except Exception as error:
                if not self.note_failure(error) or deadline is None or (
                        self.clock() >= deadline):
                    raise
            else:
                self.note_success()
                return con

    def _try(self, connect: Callable[[], Any]) -> Any:
        """Make an attempt.

        If it has just begun when the deadline comes, then the last error says
        more about the server.
        """
        start = self.clock()
        try:
            return connect()
        except Late:
            last = self.error
            if last is None or self.clock() - start >= HANGS_AFTER:
                raise
        raise _again(last)

    def last_error(self) -> Exception | None:
        """Return an error like that of the last attempt, if it failed."""
        error = self.error
        return None if error is None else _again(error)

    def _may_try(self, deadline: float | None) -> bool:
        """Return whether an attempt may be made just now."""
        if deadline is not None and self.attempts.left() >= (
                self.most_hanging):
            return False
        if self.error is None or self._failures < _FREE:
            return True
        span = int((self.clock() - self._start) / _SPAN)
        me = object()
        if self._claims.setdefault(span, me) is not me:
            return False
        for old in self._claims.copy():
            if old < span:
                self._claims.pop(old, None)
        return True

    def _wait_or_raise(self, deadline: float | None) -> None:
        """Wait for the next span, or raise the error if that is too late."""
        left = 0.0 if deadline is None else deadline - self.clock()
        error = self.error
        if left <= 0 and error is not None:
            raise _again(error)
        if left <= 0 and deadline is not None:
            raise Late
        self._over.wait(min(left, _SPAN / 2))

    def note_failure(self, error: Exception) -> bool:
        """Note an error; return whether the server cannot be used."""
        if self.observers and not isinstance(error, (Elsewhere, Late)):
            self.observers.notify("failed", _again(error))
        if not self._is_outage(error):
            return False
        if self.error is None:
            self._start = self.clock() - _JITTER * urandom(1)[0] / 256
            self._over.clear()
        self.error = _again(error)
        self._failures += 1
        if self.observers:
            now = self.clock()
            if self._outage.setdefault(0, now) is now:
                self.observers.notify("outage_began")
        return True

    def note_success(self) -> None:
        """Note that the server has accepted a connection."""
        if self.error is not None:
            self.error = None
            self._failures = 0
            self._over.set()
        if self._outage:
            self._end_outage()

    def _end_outage(self) -> None:
        began = self._outage.pop(0, None)
        if began is not None and self.observers:
            self.observers.notify("outage_ended", self.clock() - began)

    def reconnected(self) -> None:
        """Note that a session was replaced."""
        self.reconnects.step()
        if self.observers:
            self.observers.notify("reconnected")


def _again(error: Exception) -> Exception:
    """Return an error like another one, without the frames it refers to."""
    try:
        from copy import copy  # noqa: PLC0415 - rarely needed

        return copy(error)
    except Exception:  # noqa: BLE001 - not all can be copied, or at the end
        return error
