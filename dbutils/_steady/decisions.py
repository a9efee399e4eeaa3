"""The decision of the safe failover policy, and spare connections."""

from __future__ import annotations

from .._base.errors import quietly
from .._base.hints import Any, Callable, NamedTuple

__all__ = ["Loss", "Spare", "reason_not_to_repeat"]


class Loss(NamedTuple):
    """The facts when a connection was lost in a statement."""

    # Work of the program that is lost with the connection.
    in_transaction: bool
    has_work: bool
    is_marked: bool
    is_private: bool
    # Facts about the statement.
    is_read: bool
    is_exhausted: bool
    # The choice of the program.
    is_forbidden: bool
    # Whether it was cut off, since there was no answer.
    is_late: bool = False


def reason_not_to_repeat(loss: Loss) -> str | None:
    """Return why the statement is not executed again, None if it may be."""
    reasons = (
        (loss.in_transaction, "a transaction was begun with begin()"),
        (loss.has_work, "the transaction with what was done before is lost"),
        (loss.is_private, "the data were lost with the connection"),
        (loss.is_late, "the server may still be busy with it"),
        (not loss.is_read, "it may have been executed already"),
        (loss.is_marked, "earlier statements had changed the session"),
        (loss.is_exhausted, "its parameters can be read only once"),
        (loss.is_forbidden, 'failover is "never"'))
    return next((reason for applies, reason in reasons if applies), None)


class Spare:
    """A new driver connection with a cursor, to replace a lost one.

    If it cannot be opened, its cursor is None.  The end of the context closes
    everything that was opened but not kept.
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
        """Return the connection and the cursor, which stay open."""
        kept = self.con, self.cursor
        self.con = self.cursor = None
        return kept

    def __exit__(self, *exc: object) -> None:
        """Close everything that was not kept."""
        self._close()

    def _close(self) -> None:
        for thing in (self.cursor, self.con):
            if thing is not None:
                with quietly("closing a connection that is not needed"):
                    thing.close()
