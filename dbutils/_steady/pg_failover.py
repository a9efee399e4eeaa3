"""The failover policies for classic PyGreSQL.

They are those of classic.py and safe.py, for a driver that has no cursors and
opens no transaction by itself.
"""

from __future__ import annotations

from .._base.errors import add_note, quietly
from .._base.hints import Any
from .decisions import Loss
from .liveness import AT_STATEMENT
from .losses import OUTCOME_UNKNOWN
from .pg_session import PgSession
from .safe import can_repeat
from .state import LOST, OPEN
from .statements import UNKNOWN_WORK, Kind, kind_of
from .unsaved import is_strict

__all__ = [
    "RESET_ALWAYS_ROLLBACK", "RESET_COMPLETELY", "WORKING", "PgClassic",
    "PgSafe", "call_kind", "is_query"]

# The methods that get a statement first.
_QUERYING = {"query", "query_formatted", "send_query"}
# The methods that are never repeated, and may change data.
WORKING = {
    "inserttable", "query_formatted", "query_prepared", "send_query",
    "truncate", "upsert"}

RESET_ALWAYS_ROLLBACK = 1
RESET_COMPLETELY = 2
# Why a session is replaced that has to be as new.
_RESET = "it was reset"


class PgClassic:
    """Fail over as DBUtils 3.x does."""

    tolerance = 3  # as in ClassicFailover
    is_quick = False  # there are no cursors

    def reset(self, session: PgSession) -> None:
        """Open the connection again, with several servers another one."""
        if session.route is not None:
            session.reconnect(_RESET)
            return
        session.con.reset()
        session.begin_session()

    def end(self, session: PgSession, verb: str, sql: str | None) -> Any:
        """Begin or end a transaction."""
        return session.query(verb, sql)

    def run(
            self, session: PgSession, name: str,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method of the connection, again if that was lost."""
        in_transaction = session.transaction
        if not in_transaction:
            self._refresh(session)
        if is_strict and not call_kind(name, args).is_read:
            session.work = True
        try:
            result = getattr(session.con, name)(*args, **kwargs)
        except Exception as error:
            if in_transaction:
                session.transaction = False
                raise
            if not self.was_lost(session, error):
                session.note_error(error)
                raise
            session.note_loss()
        else:
            session.usage += 1
            return result
        session.reset()
        result = getattr(session.con, name)(*args, **kwargs)
        session.usage += 1
        return result

    def _refresh(self, session: PgSession) -> None:
        """Reset the connection if it is bad, or due for being replaced."""
        alive = session.check(AT_STATEMENT)
        if session.is_used_up() or (alive is None and session.has_bad_status):
            session.reset()

    def was_lost(self, session: PgSession, error: Exception) -> bool:
        """Return whether an error means that the connection is lost."""
        failures = session.options.failures
        lost = session.has_bad_status or (
            failures is not None and isinstance(error, failures))
        return lost and session.options.is_fatal(error)

    def quick_reset(self, session: PgSession) -> bool:
        """Return whether nothing has to be done after a lease."""
        return not (session.settings_changed or session.transaction)

    def reset_session(self, session: PgSession, reset: object) -> bool:
        """Reset the session after a lease; return whether it can stay."""
        if session.settings_changed:
            session.restore_settings()
        if reset == RESET_COMPLETELY:
            session.reset()
        elif reset or session.transaction:
            with quietly("rolling back"):
                session.query("rollback", None)
        if callable(reset):
            reset(session.con)
        return reset != "session"


class PgSafe:
    """Fail over only where that is safe."""

    tolerance = 0  # as in SafeFailover
    is_quick = False  # there are no cursors

    def __init__(self, replays: bool) -> None:
        self._replays = replays

    def reset(self, session: PgSession) -> None:
        """Make a new connection of it.

        The driver's own reset() blocks all other threads meanwhile.
        """
        session.reconnect(_RESET)

    def _freshen(self, session: PgSession, moment: int) -> None:
        """Replace a connection that is known to be dead, or is due."""
        session.check(moment)
        is_due = session.is_used_up() or (
            session.options.ping and session.is_gone())
        if session.state >= LOST or (is_due and not session.is_marked):
            session.reconnect()

    def end(self, session: PgSession, verb: str, sql: str | None) -> Any:
        """Begin or end a transaction."""
        if verb == "begin" and not (
                session.transaction or session.has_work()):
            self._freshen(session, 0)
        if verb == "rollback" and session.state >= LOST:
            return None
        try:
            return session.query(verb, sql)
        except Exception as error:
            loss = self._loss(session, error, UNKNOWN_WORK._replace(
                is_read=verb == "begin"), in_transaction=verb != "begin")
            if loss is not None and verb in {"commit", "end"}:
                add_note(error, OUTCOME_UNKNOWN)
                raise
            if not can_repeat(session, error, loss):
                raise
        return session.query(verb, sql)

    def run(
            self, session: PgSession, name: str,
            args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method, again if that loses and doubles nothing."""
        kind = call_kind(name, args)
        if not session.transaction and not session.has_work():
            self._freshen(session, AT_STATEMENT)
        if not kind.is_read:
            session.work = True
        if kind.marks:
            session.mark()
        in_transaction = session.transaction or session.has_work()
        try:
            result = getattr(session.con, name)(*args, **kwargs)
        except Exception as error:
            loss = self._loss(session, error, kind, in_transaction)
            if not can_repeat(session, error, loss):
                raise
        else:
            session.usage += 1
            return result
        result = getattr(session.con, name)(*args, **kwargs)
        session.usage += 1
        return result

    def _loss(
            self, session: PgSession, error: Exception, kind: Kind,
            in_transaction: bool) -> Loss | None:
        """Return what would be lost or doubled, None if nothing was lost."""
        if not self._is_lost(session, error):
            session.note_error(error)
            return None
        loss = Loss(
            in_transaction=in_transaction, has_work=False,
            is_marked=session.is_marked, is_private=False,
            is_read=kind.is_read, is_forbidden=not self._replays,
            is_exhausted=False)
        session.note_loss()
        session.enter(LOST)
        session.transaction = session.is_marked = False
        return loss

    def was_lost(self, session: PgSession, error: Exception) -> bool:
        """Return whether an error was the loss of the connection."""
        return session.state >= LOST

    def _is_lost(self, session: PgSession, error: Exception) -> bool:
        """Return whether an error means that the connection is lost."""
        failures = session.options.failures
        if session.has_bad_status:
            return session.options.is_fatal(error)
        if failures is not None and isinstance(error, failures):
            return session.options.is_fatal(error)
        return bool(session.driver.is_loss(error)) or session.is_gone()

    def quick_reset(self, session: PgSession) -> bool:
        """Return whether nothing has to be done after a lease."""
        is_clean = session.state == OPEN and not (
            session.settings_changed or session.is_marked or
            session.transaction)
        return is_clean and not (session.has_bad_status or session.has_work())

    def reset_session(self, session: PgSession, reset: Any) -> bool:
        """Reset the session after a lease; return whether it can stay."""
        is_clean = False
        if session.state == OPEN and not session.has_bad_status:
            with quietly("cleaning a connection"):
                self._clean(session, reset)
                is_clean = True
        return is_clean

    def _clean(self, session: PgSession, reset: Any) -> None:
        is_changed = session.is_marked or session.settings_changed
        if session.settings_changed:
            session.restore_settings()
        if reset == RESET_COMPLETELY:
            session.reconnect(_RESET)
            return
        if reset or session.transaction or session.has_work():
            session.query("rollback", None)
        if is_changed or reset == "session":
            session.driver.clean(session.con)
            if session.driver.has_own_session:
                session.prepare()
            session.is_marked = False
        if callable(reset):
            reset(session.con)


def is_query(name: str) -> bool:
    """Return whether a method of this name asks the database."""
    return name.startswith("get_") or name in {
        "query", "get", "insert", "update", "delete", "set_parameter"}


def call_kind(name: str, args: tuple[Any, ...]) -> Kind:
    """Return what is known about a method of the connection."""
    if name in _QUERYING and args:
        return kind_of(args[0])
    return UNKNOWN_WORK._replace(
        is_read=name.startswith("get"), marks=name == "set_parameter")
