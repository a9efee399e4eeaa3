"""The safe failover policy with a time limit for silent servers.

A statement is cut off when the server is silent for too long: the socket is
shut down, and the driver raises an error.  The session is invalidated, and the
statement is not executed again, since the server may still be busy with it.
"""

from __future__ import annotations

from .._base.errors import add_note
from .._base.hints import Any
from .cursor import Call, ReplaceableCursor
from .db_session import DbSession
from .deadlines import Limit
from .decisions import Loss
from .safe import SafeFailover
from .statements import READ, Kind

__all__ = ["Impatient"]


class _LimitedCall(Call):
    """A call of a cursor method that is cut off if the server is silent."""

    limit: Limit

    def __call__(self, cursor: Any) -> Any:
        """Make the call on a driver cursor."""
        with self.limit:
            return super().__call__(cursor)


class Impatient(SafeFailover):
    """The safe failover policy, with a limit for the server's silence."""

    def __init__(self, seconds: float) -> None:
        super().__init__(True)
        self.is_quick = False
        self._seconds = seconds

    def run(
            self, session: DbSession, cursor: ReplaceableCursor,
            call: Call) -> Any:
        """Make a call, and repeat it if that loses and doubles nothing."""
        limited = _LimitedCall(*call)
        limited.limit = Limit(session, self._seconds)
        return super().run(session, cursor, limited)

    def end(self, session: DbSession, verb: str) -> None:
        """Commit or roll back; neither is ever repeated."""
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
        """Add a note to an error that the limit has caused."""
        if limit.was_cut:
            add_note(
                error, "DBUtils: the connection was cut off, because the"
                f" server was silent for {limit.seconds:g} seconds"
                " (socket_timeout). [DBU-48]")
