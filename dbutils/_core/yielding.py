"""Places that a pool under load leaves to other processes.

A pool that has all connections that it may have opens no more, so its server
cannot tell it that others get none.  Now and then it asks the server how full
that is.  If there is hardly room, it leaves the place of one connection to
others for a moment.  If they take it, the server says that it is full when the
pool wants it back, and the pool takes a smaller share.
"""

from __future__ import annotations

from os import urandom
from time import monotonic

from .._base.hints import Any, ref
from .._base.housekeeper import Chore
from .ceiling import rise, vary
from .slots import turned

__all__ = ["Yielding", "begin_yielding"]

# In seconds, the time until a full pool asks first, and the longest one; it
# grows each time, unless the server has too many connections.
_FIRST = 0.5
_LONGEST = 5.0
_GROWTH = 1.5
# In seconds, the same after a question that the server did not understand.
_VERY_LONG = 600.0
# In seconds, when such a place is taken back.
_SOON = 0.6
# In seconds, when a pool that is not under load is looked at again.
_LATER = 10.0
# The smallest limit of a pool that does this; and the part of its connections
# that are idle at most under load, as a divisor.
_FEWEST = 4
_BUSY = 4


class Yielding:
    """Leaves places of a pool to others, in the background."""

    def __init__(self, core: Any) -> None:
        self._link = ref(core)
        # When the server is asked next, and how long after the last time.
        self._pause = _FIRST
        self._next_at = 0.0
        self._chore = Chore(self, "look")
        self._is_looking = False

    def begin(self) -> None:
        """Begin to look at the pool, which is full, unless that was begun."""
        if not self._is_looking:
            self._is_looking = True
            self._chore.begin(vary(_FIRST))

    def look(self) -> None:
        """Choose a connection to ask the server, or take a place back."""
        core = self._link()
        if core is None or core.is_closed or not (
                core.ceiling or _is_full(core)):
            self._chore.end()
            self._is_looking = False
            return
        self._chore.plan(vary(_FIRST))
        ceiling, left = core.ceiling, self._next_at - monotonic()
        if ceiling is not None:
            rise(core)  # also if nobody waits just now
            core.serve()
            if ceiling.error is not None:
                self._pause, self._next_at = _FIRST, 0.0
        elif left > 0:
            self._chore.plan(left)
        elif len(core.idle) * _BUSY > core.limits.maxconnections:
            self._chore.plan(_LATER)
        else:
            self._pause = min(_GROWTH * self._pause, _LONGEST)
            self._next_at = monotonic() + vary(self._pause)
            self._chore.plan(_SOON)
            self._choose(core)

    def _choose(self, core: Any) -> None:
        """Choose a connection that asks when it comes back."""
        slots = [slot for slot in core.slots.all() if slot.con is not None]
        if slots:
            slot = slots[urandom(1)[0] % len(slots)]
            if slot.round == core.round:
                slot.round = turned(slot.round)
                core.backend.retire(slot.con)

    def may_stay(self, core: Any, slot: Any) -> bool:
        """Return whether a connection stays, which asks the server.

        It is as any other then, unless the pool was drained meanwhile.
        """
        is_crowded = core.backend.is_crowded(slot.con)
        if is_crowded:
            return False
        slot.round = turned(slot.round)
        if is_crowded is None:  # the server does not understand the question
            self._next_at = monotonic() + _VERY_LONG
            return False
        core.backend.keep(slot.con)
        return bool(slot.round == core.round)


def begin_yielding(core: Any, con: Any) -> None:
    """Begin to leave places to others if a new connection fills the pool.

    That is done where requests may wait, and the server can be asked.
    """
    if core.timeout == 0 or not _is_full(core) or (
            core.limits.maxconnections < _FEWEST
            or not core.backend.tells_crowd(con)):
        return
    if core.yielding is None:
        core.yielding = Yielding(core)
    core.yielding.begin()


def _is_full(core: Any) -> bool:
    """Return whether a pool has all connections that it may have."""
    limit = core.limits.maxconnections
    return limit is not None and len(core.slots) >= limit
