"""A drain of a pool that takes its time.

A server or a proxy that was started again is not overrun by it.
"""

from __future__ import annotations

from os import urandom
from time import monotonic

from .._base.hints import Any, deque, ref
from .._base.housekeeper import Chore
from .slots import CLEARED

__all__ = ["SlowDrain"]


class SlowDrain:
    """Closes the present connections of a pool, one after the other.

    One that is in use is closed when it comes back.
    """

    def __init__(self, core: Any, seconds: float) -> None:
        """Set the drain up without starting it.

        seconds: the time in which all connections are closed
        """
        self._core = ref(core)
        self._slots = deque(core.slots.all())
        self._span = seconds / max(len(self._slots), 1)
        # The beginning of the span in which the next one is closed.
        self._start = monotonic()
        self._chore = Chore(self, "work")

    def begin(self) -> None:
        """Begin to close connections in the background."""
        self._chore.begin(self._pause())

    def _pause(self) -> float:
        """Return the seconds until a random moment of the present span."""
        moment = self._start + self._span * urandom(1)[0] / 256
        return max(moment - monotonic(), 0)

    def work(self) -> None:
        """Close the next connection, and end after the last one."""
        core = self._core()
        if core is None or core.is_closed or not self._slots:
            self._chore.end()
            return
        slot = self._slots.popleft()
        self._start += self._span
        self._chore.plan(self._pause())
        _retire(core, slot)


def _retire(core: Any, slot: Any) -> None:
    """Close a connection now if it is idle, or else when it comes back."""
    permit = slot.permit
    slot = None if permit is None else permit.slot
    if slot is None or slot.con is None:
        return
    slot.round = -1  # that of no connection which may stay
    core.backend.retire(slot.con)
    if core.take_out(permit):
        core.discard(permit, CLEARED)
