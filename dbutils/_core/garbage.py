"""Connections that only garbage holds, while requests wait for them.

A lease in a cycle of references comes back when the garbage collector finds
it.  The collector begins when objects are made.  If all threads wait for
connections, nobody makes any, so one of those that wait calls it.
"""

from __future__ import annotations

import gc
from time import monotonic

from .._base.hints import Any

__all__ = ["collect"]

# In seconds, how long the next call waits; it waits twice as long each time
# that one was in vain.
_FIRST, _LONGEST = 10.0, 600.0


class _Search:
    """When the collector may be called again, in all pools of a program."""

    def __init__(self) -> None:
        self._pause = _FIRST
        self._next_at = 0.0

    def begin(self) -> bool:
        """Return whether it may be called now; note that this is done."""
        now = monotonic()
        if now < self._next_at or not gc.isenabled():
            return False
        self._next_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST)
        return True

    def succeed(self) -> None:
        """Note that something was found."""
        self._pause = _FIRST
        self._next_at = 0.0


_search = _Search()


def collect(core: Any, waiter: Any) -> None:
    """Look for connections that only garbage holds, for a request.

    A program that has switched the collector off does that itself.
    """
    if _search.begin():
        gc.collect()
        core.reclaim()
        core.serve()
        if waiter.answer:
            _search.succeed()
