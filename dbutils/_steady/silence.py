"""The safe rules for a program that does not wait for ever for an answer.

A statement is cut off when the server is silent for too long: its socket is
shut down, whereupon the driver raises an error.  The connection is given up,
and the statement is not executed again, since the server may be busy with it.
"""

from __future__ import annotations

from typing import Any

from .._base.errors import add_note
from .cursor import Call, CursorState, execution
from .db_session import DbSession
from .deadlines import Limit
from .decisions import Loss
from .safe import SafeFailover
from .statements import READ, Kind

__all__ = ["Impatient"]


class _LimitedCall(Call):
    """A call of a cursor method that is cut off if there is no answer."""

    limit: Limit

    def __call__(self, cursor: Any) -> Any:
        """Make the call on a driver cursor."""
        with self.limit:
            return super().__call__(cursor)


class Impatient(SafeFailover):
    """Fail over where that is safe, and wait only so long for an answer."""

    def __init__(self, seconds: float) -> None:
        super().__init__(True)
        self._seconds = seconds

    def execute(
            self, state: CursorState, kind: Kind | None,  # noqa: ARG002 - run() asks
            operation: Any, parameters: Any) -> Any:
        """Execute a statement."""
        return self.run(state, execution(operation, parameters))

    def run(self, state: CursorState, call: Call) -> Any:
        """Make a call of a cursor, again if that loses and doubles nothing."""
        limited = _LimitedCall(*call)
        limited.limit = Limit(state.session, self._seconds)
        return super().run(state, limited)

    def end(self, session: DbSession, verb: str) -> None:
        """Commit or roll back; that is never done again."""
        limit = Limit(session, self._seconds)
        try:
            with limit:
                super().end(session, verb)
        except Exception as error:
            self._explain(limit, error)
            raise

    def loss(
            self, session: DbSession, error: Exception, kind: Kind = READ,
            had_work: bool = False, call: Call | None = None) -> Loss | None:
        """Return what would be lost or doubled, None if nothing was lost."""
        loss = super().loss(session, error, kind, had_work, call)
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
