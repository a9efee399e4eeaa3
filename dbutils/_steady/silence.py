"""The safe rules for a program that does not wait for ever for an answer.

A statement is cut off when the server is silent for too long: its socket is
shut down, whereupon the driver raises an error.  The connection is given up,
and the statement is not executed again, since the server may be busy with it.
"""

from __future__ import annotations

from typing import Any

from .._base.errors import add_note
from .cursor import Call, Hand, execution
from .db_session import DbLine
from .deadlines import Limit
from .decisions import Loss
from .safe import Safe
from .statements import READ, Kind

__all__ = ["Impatient"]


class _LimitedCall(Call):
    """A call of a cursor method that is cut off if there is no answer."""

    limit: Limit

    def __call__(self, cursor: Any) -> Any:
        """Make the call on a driver cursor."""
        with self.limit:
            return super().__call__(cursor)


class Impatient(Safe):
    """Fail over where that is safe, and wait only so long for an answer."""

    def __init__(self, seconds: float) -> None:
        super().__init__(True)
        self._seconds = seconds

    def execute(
            self, hand: Hand, kind: Kind | None,  # noqa: ARG002 - run() asks
            operation: Any, parameters: Any) -> Any:
        """Execute a statement."""
        return self.run(hand, execution(operation, parameters))

    def run(self, hand: Hand, call: Call) -> Any:
        """Make a call of a cursor, again if that loses and doubles nothing."""
        limited = _LimitedCall(*call)
        limited.limit = Limit(hand.line, self._seconds)
        return super().run(hand, limited)

    def end(self, line: DbLine, verb: str) -> None:
        """Commit or roll back; that is never done again."""
        limit = Limit(line, self._seconds)
        try:
            with limit:
                super().end(line, verb)
        except Exception as error:
            self._explain(limit, error)
            raise

    def loss(
            self, line: DbLine, error: Exception, kind: Kind = READ,
            had_work: bool = False, call: Call | None = None) -> Loss | None:
        """Return what would be lost or doubled, None if nothing was lost."""
        loss = super().loss(line, error, kind, had_work, call)
        limit = getattr(call, "limit", None)
        if loss is None or limit is None or not limit.was_cut:
            return loss
        self._explain(limit, error)
        return loss._replace(is_late=True)

    @staticmethod
    def _explain(limit: Limit, error: Exception) -> None:
        """Say in a note of an error that the library has caused it."""
        if limit.was_cut:
            add_note(
                error, "DBUtils: the connection was cut off, because the"
                f" server was silent for {limit.seconds:g} seconds"
                " (socket_timeout).")
