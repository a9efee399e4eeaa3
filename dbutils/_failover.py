"""What to do when the driver raises an error.

The decision is a pure function.  What it orders is done by the steady
connections, with the help of a spare connection that is closed again
unless it is kept.
"""

from __future__ import annotations

import enum
from typing import Any, Callable

from ._errors import quietly

__all__ = ["Spare", "Verdict", "judge"]


class Verdict(enum.Enum):
    """The consequences that an error can have."""

    RAISE = "raise the error, the connection stays"
    REPLACE = "replace the connection, raise the error"
    REPEAT = "try again, on another connection if need be"


def judge(fatal: bool, in_transaction: bool) -> Verdict:
    """Decide about an error of the kind that can mean a lost connection."""
    if not fatal:
        return Verdict.RAISE
    return Verdict.REPLACE if in_transaction else Verdict.REPEAT


class Spare:
    """A new driver connection with a cursor, to replace a lost one.

    Where it cannot be opened, its cursor is None.  At the end of the
    context everything that was opened but not kept is closed.
    """

    def __init__(
            self, connect: Callable[[], Any],
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.con: Any = None
        self.cursor: Any = None
        self._connect = connect
        self._cursor_args = args
        self._cursor_kwargs = kwargs

    def __enter__(self) -> Spare:
        """Try to open the connection and the cursor."""
        try:
            with quietly("opening another connection"):
                self.con = self._connect()
                self.cursor = self.con.cursor(
                    *self._cursor_args, **self._cursor_kwargs)
        except BaseException:  # an interrupt is not swallowed
            self._close()
            raise
        return self

    def keep(self) -> tuple[Any, Any]:
        """Hand over the connection and the cursor."""
        kept = self.con, self.cursor
        self.con = self.cursor = None
        return kept

    def __exit__(self, *exc: object) -> None:
        """Close what was not kept."""
        self._close()

    def _close(self) -> None:
        for thing in (self.cursor, self.con):
            if thing is not None:
                with quietly("closing a connection that is not needed"):
                    thing.close()
