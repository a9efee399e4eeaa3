"""What a pool does while its server refuses connections.

A server that comes back should not be overrun, and who waits should be served
at once.  So there is at most one attempt in each short span of time, made by
whoever is the first to claim it; all others wait for its outcome, if they can
wait, and otherwise get the error of the last attempt.
"""

from __future__ import annotations

import copy
import random
import re
import threading
from time import monotonic
from typing import Any, Callable

from .._base.opening import HANGS_AFTER, Attempts, Elsewhere, Late
from .counts import Count

__all__ = ["ConnectThrottle", "Elsewhere", "is_outage", "is_refusal"]

# In seconds, the time between two attempts, and by how much it varies.
_SPAN = 0.05
_JITTER = 0.005
# So many attempts may fail before they are spaced.
_FREE = 5
# So many connects may hang for which nobody waits.
_HANGING = 20

# The codes of errors by which a server says that it cannot be used now, and
# the words of those that have none.
_CODES = {
    "57P01", "57P02", "57P03", "53300", "08000", "08001", "08003", "08004",
    "08006", 1040, 1203, 1053, 2002, 2003, 2006, 2013, 2055}
_WORDS = re.compile(
    "refused|starting up|accepting connections|shutting down|timed? ?out"
    "|too many|unreachable|reset by peer|closed the connection|not connect"
    "|no connection|cannot connect|gone away|broken pipe|recovery mode"
    "|network error|remaining connection slots|no more connections",
    re.IGNORECASE)
# The same for a server that does not let us in; in some other languages, too.
_REFUSED = {"28P01", "28000", 1045, 1698, 18456}
_NEVER = re.compile(
    "authenti|autenti|passw|denied|login failed|ORA-01017", re.IGNORECASE)


def is_outage(error: BaseException) -> bool:
    """Tell whether another attempt to connect can help."""
    if not isinstance(error, Exception) or isinstance(error, TypeError):
        return False
    text = str(error)
    if is_refusal(error) or "certificate" in text.lower():
        return False
    return isinstance(error, OSError) or bool(
        _codes_of(error) & _CODES) or bool(_WORDS.search(text))


def is_refusal(error: BaseException) -> bool:
    """Tell whether an error says that the password is not the right one."""
    return bool(_codes_of(error) & _REFUSED or _NEVER.search(str(error)))


def _codes_of(error: BaseException) -> set[Any]:
    """Return what may be the code of an error."""
    codes = [
        getattr(error, name, None)
        for name in ("pgcode", "sqlstate", "errno")]
    parts = [part for part in error.args if isinstance(part, (int, str))]
    return {*codes, *parts}


class ConnectThrottle:
    """The state of the server, as far as a pool knows it."""

    def __init__(self) -> None:
        self.clock = monotonic
        # How often a connection was replaced by a new one while it was used.
        self.reconnects = Count()
        # Why the last attempt failed; None if it did not.
        self.error: Exception | None = None
        self._failures = 0
        self._start = 0.0
        # The spans by number, with who has claimed them.
        self._claims: dict[int, object] = {}
        self._over = threading.Event()
        # How many pings have failed in a row; after too many, connections are
        # asked when they were opened.
        self.failed_pings = 0
        # What helpers do for requests that have a deadline.
        self.attempts = Attempts()
        self.most_hanging = _HANGING

    def connect(
            self, connect: Callable[[], Any], deadline: float | None,
            is_elsewhere: Callable[[], Any]) -> Any:
        """Return a new connection, when the server is there again.

        deadline: until when that is waited for; None means not at all, but
            an attempt may be made
        is_elsewhere: tells whether there is another connection meanwhile,
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
        """Tell whether an attempt may be made just now."""
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
        """Wait for the next span; raise the error if that is too late."""
        left = 0.0 if deadline is None else deadline - self.clock()
        error = self.error
        if left <= 0 and error is not None:
            raise _again(error)
        if left <= 0 and deadline is not None:
            raise Late
        self._over.wait(min(left, _SPAN / 2))

    def note_failure(self, error: Exception) -> bool:
        """Note an error; tell whether the server cannot be used."""
        if not is_outage(error):
            return False
        if self.error is None:
            self._start = self.clock() - random.random() * _JITTER  # noqa: S311
            self._over.clear()
        self.error = _again(error)
        self._failures += 1
        return True

    def note_success(self) -> None:
        """Note that the server has let somebody in."""
        if self.error is not None:
            self.error = None
            self._failures = 0
            self._over.set()


def _again(error: Exception) -> Exception:
    """Return an error like another one, without what that refers to."""
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - not all can be copied
        return error
