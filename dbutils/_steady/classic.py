"""The failover policy of DBUtils 3.x.

Outside of begin() any error that can mean a lost connection is taken as such,
and the statement is tried again: with another cursor, then with another
connection.  This can tear transactions apart that the driver has opened by
itself, and execute statements twice.
"""

from __future__ import annotations

from .._base.errors import log_swallowed, quietly
from .._base.hints import Any, Args, Callable, Kwargs, NamedTuple
from .calls import call_begin
from .cursor import (
    NOTHING,
    Call,
    ReplaceableCursor,
    call_on,
    change,
    close_driver_cursor,
    driver_cursor_of,
    execution,
    extras_of,
    is_closed,
    move_to,
)
from .db_session import DbSession
from .decisions import Spare
from .liveness import (
    AT_CURSOR,
    AT_STATEMENT,
    ask_driver,
    ask_program,
    note_ping,
    prove_ping,
)
from .settings import restore
from .state import IN_DOUBT, OPEN
from .statements import READ, Kind, seen

__all__ = ["CLASSIC", "ClassicFailover"]


class _Done(NamedTuple):
    """The end of a rung of the failover ladder that succeeded."""

    result: Any


class ClassicFailover:
    """Fail over as DBUtils 3.x does.

    A statement that is tried again climbs a ladder, of which each rung returns
    None if it has not helped.
    """

    # The number of failures in a row of the program's question after which a
    # new connection is asked, too; DBUtils 3.x never does that.
    tolerance = 3
    only_rolls_back = False
    # Statements and cursors are left to execute() and cursor().
    is_quick = False

    @property
    def usual(self) -> Any:
        """The policy that calls no method of the program; see Replaced."""
        return self

    def check(
            self, session: DbSession, reconnect: bool,
            is_dead: bool = False) -> bool | None:
        """Return whether the connection is alive, None if that is unknown."""
        if is_dead or session.state != OPEN:
            alive: bool | None = False
        elif session.options.pinger is not None:
            alive = ask_program(session)
        else:
            note_ping(session)
            alive = ask_driver(session.con)
        if alive is None:
            session.ask_at(0)  # the driver has no ping(): never ask again
        elif not alive and reconnect and not session.transaction:
            alive = _reopen(session)
            if alive:
                prove_ping(session)
        return alive

    def begin(self, session: DbSession, args: Args, kwargs: Kwargs) -> None:
        """Begin a transaction."""
        session.transaction = True
        call_begin(session.con, args, kwargs)

    def end(self, session: DbSession, verb: str) -> None:
        """Commit or roll back; reconnect if that reports a failure."""
        try:
            getattr(session.con, verb)()
        except session.opener.failures:
            _reopen(session)
            raise
        session.work = False

    def alter(
            self, session: DbSession, act: Callable[[], Any],
            kind: Kind = READ) -> Any:
        """Change a setting, or do something else directly."""
        return act()

    def quick_reset(self, session: DbSession) -> bool:
        """Roll back after a lease; return whether that was all to be done.

        This inlines reset_session() for the usual case.
        """
        if session.settings_changed or session.closed or (
                session.descriptor is not None):
            return False
        session.transaction = False
        try:
            session.con.rollback()
        except Exception as error:  # noqa: BLE001 - nothing is changed
            if isinstance(error, session.opener.failures):
                _reopen(session)
            log_swallowed("rolling back", error)
        except BaseException:
            session.enter(IN_DOUBT)  # an answer may be unread
            raise
        else:
            session.work = False
        return not session.is_retired  # perhaps since the rollback began

    leave = quick_reset

    def was_lost(self, session: DbSession, error: Exception) -> bool:
        """Return whether an error was taken as the loss of the connection."""
        return isinstance(
            error, session.opener.failures) and session.options.is_fatal(error)

    def reset_session(self, session: DbSession, reset: object) -> bool:
        """Reset the session after a lease; return whether it can stay."""
        if session.state >= IN_DOUBT:
            return False
        session.clean(reset)
        if session.settings_changed and not restore(session, reconnect=False):
            return False
        if reset is True or reset is False:  # as nearly always
            return True
        if callable(reset):
            reset(session.con)
        return reset != "session"

    def cursor(self, session: DbSession, args: Args, kwargs: Kwargs) -> Any:
        """Return a new driver cursor, of a new connection if necessary."""
        in_transaction = session.transaction
        if not in_transaction:
            if session.ping & AT_CURSOR:
                session.check(AT_CURSOR)
            if not (
                    session.is_simple and session.state == OPEN
                    ) and session.is_used_up():
                return self._cursor_when_due(session, args, kwargs)
        try:
            if not (args or kwargs):  # as nearly always
                return session.con.cursor()
            return session.con.cursor(*args, **kwargs)
        except session.opener.failures as error:
            if not session.options.is_fatal(error):
                raise
            cursor = self._cursor_anew(session, args, kwargs)
            if cursor is None or in_transaction:
                raise
            return cursor

    def _cursor_when_due(
            self, session: DbSession, args: Args, kwargs: Kwargs) -> Any:
        """Return a cursor of a new connection, since the old one is due."""
        cursor = self._cursor_anew(session, args, kwargs)
        if cursor is None:
            raise session.opener.failure(session.used_up_text())
        return cursor

    def _cursor_anew(
            self, session: DbSession, args: Args, kwargs: Kwargs) -> Any:
        """Replace the connection; return a cursor, None if that fails."""
        with Spare(session.open_again, args, kwargs) as spare:
            if spare.cursor is None:
                session.transaction = False
                return None
            con, cursor = spare.keep()
            _go_on_with(session, con)
            return cursor

    def run(
            self, session: DbSession, cursor: ReplaceableCursor,
            call: Call) -> Any:
        """Make a call of a cursor, again if the connection was lost."""
        in_transaction = session.transaction
        if not call.kind().is_read:
            session.work = True
        if not in_transaction:
            session.check(AT_STATEMENT)
            if session.is_used_up():
                return self._run_when_due(session, cursor, call)
        try:
            if is_closed(cursor) and extras_of(cursor).moved:
                # as in DBUtils 3.x, a cursor that was moved can still be used
                args, kwargs = extras_of(cursor).options
                move_to(cursor, session.con.cursor(*args, **kwargs))
            result = call_on(cursor, call)
        except session.opener.failures as error:
            done = self._after(error, session, cursor, call, in_transaction)
            if done is None:
                raise
            return done.result
        session.usage += 1
        return result

    def _after(
            self, error: Exception, session: DbSession,
            cursor: ReplaceableCursor, call: Call,
            in_transaction: bool) -> _Done | None:
        """Try again after an error that can mean a loss, if that may help.

        The error is not raised here, where it would refer to itself.
        """
        if extras_of(cursor).no_failover or (
                not session.options.is_fatal(error)):
            return None
        if in_transaction:
            self._replace(session, cursor)
            return None
        return self.repeat(session, cursor, call, type(error))

    def execute(
            self, session: DbSession, cursor: ReplaceableCursor,
            operation: Any, parameters: Any) -> Any:
        """Execute a statement; this inlines run() for the usual case."""
        extras, driver_cursor = extras_of(cursor), driver_cursor_of(cursor)
        try:
            kind = seen[operation]
        except (KeyError, TypeError):  # not seen yet, or not hashable
            kind = None
        if kind is None or not (
                session.is_simple and session.state == OPEN) or (
                extras.moved or extras.has_sizes):
            return self.run(
                session, cursor, execution(operation, parameters))
        if kind is not READ:
            session.work = True
        in_transaction = session.transaction
        try:
            if parameters is NOTHING:
                result = driver_cursor.execute(operation)
            else:
                result = driver_cursor.execute(operation, parameters)
        except session.opener.failures as error:
            done = self._after(
                error, session, cursor, execution(operation, parameters),
                in_transaction)
            if done is None:
                raise
            result = done.result
        else:
            session.usage += 1
        return result

    def _run_when_due(
            self, session: DbSession, cursor: ReplaceableCursor,
            call: Call) -> Any:
        """Make a call on a new connection, since the old one is due."""
        text = session.used_up_text()
        done = self.repeat(session, cursor, call, failure=())
        if done is None:
            raise session.opener.failure(text)
        return done.result

    # The ladder.

    def repeat(
            self, session: DbSession, cursor: ReplaceableCursor, call: Call,
            failure: Any) -> _Done | None:
        """Climb the ladder."""
        done = self._repeat_here(session, cursor, call)
        if done is None:
            done = self._repeat_elsewhere(session, cursor, call, failure)
        if done is not None:
            change(cursor, moved=True)
            session.usage += 1
        return done

    def _repeat_here(
            self, session: DbSession, cursor: ReplaceableCursor,
            call: Call) -> _Done | None:
        """Try once more with another cursor of this connection."""
        other = done = None
        with quietly(f"repeating {call.name} on the same connection"):
            other = session.failover.cursor(
                session, *extras_of(cursor).options)
            done = _Done(call_on(cursor, call, other))
        if done is not None:
            move_to(cursor, other)
        elif other is not None:
            with quietly("closing a cursor"):
                other.close()
        return done

    def _repeat_elsewhere(
            self, session: DbSession, cursor: ReplaceableCursor, call: Call,
            failure: Any) -> _Done | None:
        """Try once more with another connection.

        That connection is kept if the same failure does not come again.
        """
        with Spare(
                session.open_again, *extras_of(cursor).options) as spare:
            if spare.cursor is None:
                return None
            try:
                done = _Done(call_on(cursor, call, spare.cursor))
            except failure:
                return None
            except Exception:
                self._take(session, cursor, spare)
                session.usage += 1
                raise
            self._take(session, cursor, spare)
            return done

    def _replace(
            self, session: DbSession, cursor: ReplaceableCursor) -> None:
        """Replace the connection at the end of a broken transaction."""
        with Spare(
                session.open_again, *extras_of(cursor).options) as spare:
            if spare.cursor is not None:
                self._take(session, cursor, spare)
        session.transaction = False

    def _take(
            self, session: DbSession, cursor: ReplaceableCursor,
            spare: Spare) -> None:
        """Go on with another connection and a cursor of it."""
        con, driver_cursor = spare.keep()
        hold = close_driver_cursor(cursor)
        _go_on_with(session, con)
        move_to(cursor, driver_cursor, hold)
        change(cursor, moved=True)


def _go_on_with(session: DbSession, con: Any) -> None:
    """Close the driver connection and go on with another one."""
    session.close()
    session.store(con)


def _reopen(session: DbSession) -> bool:
    """Try to replace the driver connection; return whether that worked."""
    con = None
    with quietly("opening a connection again"):
        con = session.open_again()
    if con is None:
        return False
    _go_on_with(session, con)
    return True


CLASSIC = ClassicFailover()
