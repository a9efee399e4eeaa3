"""The safe failover policy: it loses nothing and does nothing twice.

A statement is only executed again if the connection is really lost, if it is
a read, and if nothing was open that is lost with the connection.  Otherwise
the connection is replaced at its next use, and the error raised with a note
that says why.  A connection that the server has closed is noticed and
replaced before a statement is sent, if there is nothing to lose.
"""

from __future__ import annotations

from time import monotonic

from .._base.errors import add_note, log_swallowed, quietly
from .._base.hints import Any, Args, Callable, Kwargs
from .._base.threads import ends, vacancies
from .._drivers.creators import has_nothing_open, is_unsupported
from .calls import call_begin
from .cursor import (
    NOTHING,
    Call,
    ReplaceableCursor,
    call_on,
    driver_cursor_of,
    execution,
    extras_of,
    is_ready,
    keep_up,
    open_again,
)
from .db_session import DbSession
from .deadlines import watchdog
from .decisions import Loss, reason_not_to_repeat
from .liveness import (
    AT_CURSOR,
    AT_STATEMENT,
    LOOK_AFTER_ANSWER,
    look_and_ask,
    prove_ping,
)
from .losses import begins_anew, is_lost, note_end, note_error
from .mistakes import explain_refusal, present_error
from .session import Session
from .settings import restore
from .state import LOST, OPEN
from .statements import AHEAD, READ, UNKNOWN_WORK, Kind, kind_of

__all__ = ["SafeFailover", "can_repeat"]


class SafeFailover:
    """Fail over only where that is safe.

    replays: whether statements may be executed again
    """

    only_rolls_back = False  # if all is clean
    # A question that has failed is asked again on the new connection.
    tolerance = 0

    def __init__(self, replays: bool) -> None:
        self._replays = replays
        # Whether cursors inline cursor() and run().  They do not look at the
        # socket for a first read that comes after the look at checkout: if the
        # connection is lost in between, it is executed again.
        self.is_quick = replays

    @property
    def usual(self) -> Any:
        """The policy that calls no method of the program; see Replaced."""
        return self

    def with_usual(self, policy: Any) -> Any:
        """Return the policy that replaces this one."""
        return policy

    def loss(
            self, session: DbSession, error: Exception, kind: Kind = READ,
            had_work: bool = False, call: Call | None = None) -> Loss | None:
        """Return what would be lost or doubled, None if nothing was lost."""
        if not is_lost(session, error):
            note_error(session, error, had_work)
            return None
        loss = Loss(
            in_transaction=session.transaction, has_work=had_work,
            is_marked=session.is_marked or session.is_exposed,
            is_private=session.is_in_memory, is_read=kind.is_read,
            is_forbidden=not self._replays, is_exhausted=call is not None and
            not call.can_be_repeated)
        if not loss.is_private:
            session.invalidate()
        return loss

    def check(
            self, session: DbSession, reconnect: bool,
            is_dead: bool = False) -> bool | None:
        """Return whether the connection is alive, None if that is unknown."""
        alive = not is_dead and look_and_ask(session)
        if not alive and reconnect and not session.transaction and (
                session.state >= LOST or not (
                    session.is_bound() or session.has_work()
                    or session.is_in_memory)):
            alive = can_renew(session, "opening a connection again")
            if alive:
                prove_ping(session)
        return alive

    def _replace_if_stale(self, session: DbSession, moment: int) -> bool:
        """Replace a connection that is known to be dead, or is due.

        Nothing is done in the middle of work; return whether there is work.
        """
        had_work = session.work
        if had_work is None:
            had_work = session.has_work()
        if had_work or session.transaction:
            return had_work
        session.check(moment)
        is_due = session.is_used_up() or (session.ping and session.is_gone())
        if session.state >= LOST or (
                is_due and not (session.is_bound() or session.is_in_memory)):
            session.reconnect()
        return False

    # Transactions, and what is done directly.

    def begin(self, session: DbSession, args: Args, kwargs: Kwargs) -> None:
        """Begin a transaction, of a new connection if necessary."""
        def act() -> None:
            session.transaction = True  # also if this is interrupted
            try:
                call_begin(session.con, args, kwargs)
            except Exception:
                session.transaction = False
                raise

        self.alter(session, act)

    def alter(
            self, session: DbSession, act: Callable[[], Any],
            kind: Kind = READ) -> Any:
        """Do something directly, on a new connection if necessary.

        kind: READ for what can be done again, like the change of a setting
        """
        had_work = self._replace_if_stale(session, 0)
        try:
            return act()
        except Exception as error:
            session.is_bound()  # not by a connection that it has closed itself
            loss = self.loss(session, error, kind, had_work)
            if not can_repeat(session, error, loss):
                raise
        except BaseException as error:
            session.distrust(error)
            raise
        return act()

    def end(self, session: DbSession, verb: str) -> None:
        """Commit or roll back; that is never done again."""
        if session.state >= LOST:
            if verb == "commit":
                raise session.opener.failure(
                    "The connection was lost, and the transaction with it:"
                    " nothing was committed. [DBU-51]")
            return
        try:
            getattr(session.con, verb)()
        except Exception as error:
            note_end(session, verb, error)
            raise
        except BaseException as error:
            session.distrust(error)
            raise
        session.work = False

    def was_lost(self, session: DbSession, error: Exception) -> bool:
        """Return whether an error was the loss of the connection."""
        return session.state >= LOST

    def reset_session(self, session: DbSession, reset: Any) -> bool:
        """Reset the session after a lease; return whether it can stay."""
        if session.driver.checks_types:
            explain_refusal(present_error())
        if session.state == OPEN and not session.closed:
            with quietly("resetting a session"):
                return self._reset(session, reset)
        return False

    def _reset(self, session: DbSession, reset: Any) -> bool:
        is_dirty = session.is_marked or session.settings_changed or (
            reset == "session")
        if reset or is_dirty or session.transaction or (
                session.driver.is_aborted(session.con)):
            self._roll_back(session)
        if is_dirty and not restore(
                session, session.is_marked or reset == "session"):
            return False
        if callable(reset):
            reset(session.con)
        return True

    def _roll_back(self, session: DbSession) -> None:
        """Roll back, unless the driver has no transactions."""
        try:
            session.end("rollback")
        except Exception as error:
            if not (has_nothing_open(error) or (
                    session.driver.asks and is_unsupported(error))):
                raise
            log_swallowed("rolling back", error)
            session.work = False

    def quick_reset(self, session: DbSession) -> bool:
        """Roll back after a lease; return whether that was all to be done."""
        return not (session.is_marked or session.settings_changed
                    or session.closed or session.state) and self.leave(session)

    def leave(self, session: DbSession) -> bool:  # noqa: PLR0912, PLR0915 - the fast way is one short function
        """Do the same with a session that is open and has no changes."""
        driver = session.terms.driver
        if driver.checks_types and present_error() is not None:
            explain_refusal(present_error())
        ask_status, descriptor = session.ask_status, session.descriptor
        try:
            if not (session.transaction or (
                    driver.in_transaction(session.con) is not False
                    if ask_status is None else ask_status())):
                pass  # as after a commit
            elif descriptor is not None:
                session.transaction = False
                session.call = None, descriptor  # see watch()
                if not watchdog.is_awake or vacancies or ends.is_over:
                    watchdog.ensure(session, descriptor)
                if session.checkout_check is LOOK_AFTER_ANSWER:
                    begun = monotonic()
                    session.con.rollback()
                    session.answered = begun
                else:
                    session.con.rollback()
                session.call = None
            elif session.is_unbounded():
                return False  # it is closed instead
            else:
                session.transaction = False
                session.con.rollback()
        except BaseException as error:  # noqa: BLE001 - interrupts are raised
            return _bears(session, error)
        session.work = False
        return not session.is_retired  # perhaps since the rollback began

    # Opening cursors and executing statements.

    def cursor(self, session: DbSession, args: Args, kwargs: Kwargs) -> Any:
        """Return a new driver cursor, of a new connection if necessary.

        cursor_for() of steady_db inlines this for the usual case.
        """
        had_work = session.has_work()
        if not (had_work or session.transaction) and (
                session.ping & AT_CURSOR or not (
                    session.is_simple and session.state == OPEN)):
            self._replace_if_stale(session, AT_CURSOR)
        try:
            return session.con.cursor(*args, **kwargs)
        except Exception as error:
            if not self.may_reopen(session, error, had_work):
                raise
        return session.con.cursor(*args, **kwargs)

    def may_reopen(
            self, session: DbSession, error: Exception,
            had_work: bool) -> bool:
        """Return whether there is a new connection after an error.

        The error is one of opening a cursor.
        """
        session.is_bound()  # not by a connection that it has closed itself
        loss = self.loss(session, error, had_work=had_work)
        return can_repeat(session, error, loss)

    def run(
            self, session: DbSession, cursor: ReplaceableCursor,
            call: Call) -> Any:
        """Make a call of a cursor, again if that loses and doubles nothing.

        SteadyDBCursor.execute() inlines this for the usual case.
        """
        kind = call.kind()
        had_work = self._replace_if_stale(session, AT_STATEMENT)
        keep_up(cursor, session.con)
        if not kind.is_read:  # also if this is interrupted
            session.work = None
            if kind.marks or (
                    kind is AHEAD and session.driver.sets_ahead):
                session.mark()
        try:
            result = call_on(cursor, call)
        except BaseException as error:
            if not self.may_repeat(
                    error, session, cursor, call, kind, had_work):
                raise
            result = self.make_again(session, cursor, call, kind)
        session.usage += 1
        session.has_work()
        return result

    def may_repeat(
            self, error: BaseException, session: DbSession,
            cursor: ReplaceableCursor, call: Call, kind: Kind,
            had_work: bool) -> bool:
        """Return whether a call can be made again after an error.

        The error is not raised here: it would refer to itself through the
        traceback, and a lease that is dropped would wait for the collector.
        """
        if not isinstance(error, Exception):
            session.work = had_work or session.work  # also if it is closed now
            session.distrust(error)
            return False
        refused = None
        is_first = self._replays and not (had_work or session.transaction)
        if is_first and session.route is not None:
            from .refused import refusal  # noqa: PLC0415 - several servers

            refused = refusal(session, error, call)
        loss = self.loss(session, error, kind, had_work, call) or refused
        if extras_of(cursor).no_failover:
            return False
        return (
            loss is None and is_first and call.can_be_repeated
            and begins_anew(session, error)
        ) or can_repeat(session, error, loss)

    def execute(
            self, session: DbSession, cursor: ReplaceableCursor,
            operation: Any, parameters: Any) -> Any:
        """Execute a statement; this inlines run() for usual work."""
        had_work = session.work
        if not is_ready(cursor, session) or had_work is None or (
                kind_of(operation) is not UNKNOWN_WORK) or (
                session.can_be_gone and not (had_work or session.transaction)
                and session.is_gone()):
            return self.run(
                session, cursor, execution(operation, parameters))
        driver_cursor = driver_cursor_of(cursor)
        session.work = None  # also if this is interrupted
        try:
            result = (
                driver_cursor.execute(operation) if parameters is NOTHING
                else driver_cursor.execute(operation, parameters))
        except BaseException as error:
            call = execution(operation, parameters)
            if not self.may_repeat(
                    error, session, cursor, call, UNKNOWN_WORK, had_work):
                raise
            result = self.make_again(session, cursor, call, UNKNOWN_WORK)
        session.usage += 1
        session.has_work()
        return result

    def make_again(
            self, session: DbSession, cursor: ReplaceableCursor, call: Call,
            kind: Kind) -> Any:
        """Make a call a second and last time, on a new connection."""
        try:
            open_again(cursor)
            return call_on(cursor, call)
        except Exception as error:
            self.loss(session, error, kind)
            raise
        except BaseException as error:
            session.distrust(error)
            raise


def _bears(session: DbSession, error: BaseException) -> bool:
    """Return whether a session can stay after its rollback has failed.

    An interrupt is raised.
    """
    session.call = None
    if not isinstance(error, Exception):
        session.distrust(error)
        raise error
    if has_nothing_open(error):
        session.work = False
        return not session.is_retired
    note_end(session, "rollback", error)
    log_swallowed("rolling back", error)
    return False


def can_renew(session: Session, step: str) -> bool:
    """Go on with a new connection; return whether there is one.

    step: the name of this step in the log if it fails
    """
    with quietly(step):
        session.reconnect()
        return True
    return False


def can_repeat(session: Session, error: Exception, loss: Loss | None) -> bool:
    """Return whether there is another connection now to do it again."""
    if session.taken_back is not None:
        add_note(error, f"DBUtils: {session.taken_back[1]}")
        return False
    if loss is None:
        return False
    reason = reason_not_to_repeat(loss)
    if reason is None:
        if can_renew(session, "opening another connection"):
            return True
        reason = "no other connection could be opened"
    add_note(
        error, f"DBUtils: not executed again, because {reason}. [DBU-52]")
    return False
