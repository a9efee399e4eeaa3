"""What the users of a pool hold: one visit to a connection."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from ._collecting import is_collecting
from ._errors import closed_text

__all__ = ["Lease"]


class Lease:
    """A proxy that gives its connection back when it is closed.

    It does so exactly once, however many threads close it, and also when it
    is collected: whoever pops the only item of a list returns it.
    """

    _con: Any = None
    _pool: Any = None
    _turn: Any = None

    def __init__(self, pool: Any, con: Any, right: Any = None) -> None:
        self._hold(pool, con, right)

    def _hold(self, pool: Any, con: Any, right: Any) -> None:
        held = self.__dict__  # since subclasses look at every attribute
        held["_pool"] = pool
        held["_con"] = con
        held["_turn"] = [right]

    def hand_over(self) -> tuple[Any, Any]:
        """Return the connection and the right to it; hold it no more."""
        con, self._con = self._con, None
        return con, self._turn.pop()

    def close(self) -> None:
        """Give the connection back to the pool; do not close it."""
        held = self.__dict__
        try:
            right = held["_turn"].pop()
        except (IndexError, KeyError):  # not, or never, held
            return
        con, held["_con"] = held["_con"], None
        try:
            if right is not None and (is_collecting() or right.is_given_up):
                right.slot.alarm()  # the right dies, and who waits finds it
            elif right is None or right.visit:
                self._give_back(con, right)
        finally:
            right = None  # not to be kept by the traceback of an interrupt

    def _give_back(self, con: Any, right: Any) -> None:
        self._pool._give_back(con, right)  # noqa: SLF001 - in confidence

    def _closed_error(self, name: str) -> Exception:
        """Return the error for the use of a closed lease."""
        return AttributeError(closed_text("connection", name))

    def __getattr__(self, name: str) -> Any:
        """Return what the connection has."""
        if self.is_over():
            raise self._closed_error(name)
        return getattr(self._con, name)

    def is_over(self) -> bool:
        """Tell whether the connection does not belong to the user now."""
        turn = self._turn
        return not turn or (
            turn[0] is not None and turn[0].visit.is_over)

    def __enter__(self) -> Any:
        """Begin a context at whose end the connection is given back."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the connection back; this does not commit."""
        self.close()

    def __del__(self) -> None:
        """Give the connection back when nobody holds the lease any more."""
        if self._turn:
            if _is_strict and not self.is_over():
                _warn(self._turn[0])
            self.close()


# In the development mode of Python, dropping a lease is reported.
_is_strict = sys.flags.dev_mode


def _warn(right: Any) -> None:
    if right is not None and right.visit.place:
        warnings.warn(
            "A connection was dropped instead of closed by"
            f" {right.visit}.", ResourceWarning, stacklevel=3)
