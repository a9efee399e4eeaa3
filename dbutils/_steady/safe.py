"""The rules for failing over that lose nothing and do nothing twice.

A statement is only executed again if the connection is really lost, if it is
a read, and if nothing was open that is lost with the connection.  Otherwise
the connection is replaced at its next use, and the error raised with a note
that says why.  A connection that the server has closed is noticed and
replaced before a statement is sent, if there is nothing to lose.
"""

from __future__ import annotations

from sys import exc_info
from time import monotonic
from typing import Any, Callable

from .._base.errors import add_note, log_swallowed, quietly
from .classic import driver_ping
from .cursor import NOTHING, Call, CursorState, execution
from .db_session import DbSession
from .deadlines import end_deadline, start_deadline
from .decisions import Loss, reason_not_to_repeat
from .mistakes import explain_refusal, explain_thread
from .ping import SqlPinger, ask
from .session import Session, doubt_ping, prove_ping, trust_ping
from .sockets import UNREAD
from .statements import AHEAD, READ, Kind

__all__ = ["OUTCOME_UNKNOWN", "SafeFailover", "can_repeat"]

OUTCOME_UNKNOWN = (
    "DBUtils: the connection was lost in commit(),"
    " it is unknown whether the transaction was committed.")


# Opening a cursor or a transaction does nothing that could be done twice.
_NOTHING_SENT = READ


class _Judge:
    """Tells what an error means."""

    def __init__(self, replays: bool) -> None:
        self._replays = replays

    def is_lost(self, session: DbSession, error: Exception) -> bool:
        """Tell whether an error means that the connection is lost."""
        listed = isinstance(error, session.failures)
        if session.options.isfatal is not None and listed:
            return session.options.is_fatal(error)
        if session.options.failures is not None and not listed:
            return False
        lost = session.profile.is_loss(error)
        if lost is None:
            lost = session.is_gone() or (
                listed and not session.profile.is_known)
        return lost

    def note_error(self, session: DbSession, error: Exception) -> None:
        """Note an error after which the connection stays."""
        if session.profile.in_transaction(session.con) is not None:
            session.work = None
        if session.profile.is_read_only(error):
            session.valid = False
        explain_thread(error)
        session.distrust(error)

    def loss(
            self, session: DbSession, error: Exception, kind: Kind =
            _NOTHING_SENT, had_work: bool = False, call: Call | None =
            None) -> Loss | None:
        """Return what would be lost or doubled, None if nothing was lost."""
        if not self.is_lost(session, error):
            self.note_error(session, error)
            return None
        loss = Loss(
            in_transaction=session.transaction, has_work=had_work,
            is_marked=session.session_dirty or session.exposed,
            is_private=session.is_in_memory, is_read=kind.is_read,
            is_forbidden=not self._replays, is_exhausted=call is not None and
            not call.can_be_repeated)
        if not loss.is_private:
            session.invalidate()
        return loss


class _Lookout:
    """Looks at a connection before it is used."""

    def check(
            self, session: DbSession, reconnect: bool,
            is_dead: bool = False) -> bool | None:
        """Tell whether the connection is alive, None if that is unknown."""
        alive = False if is_dead else self._is_alive(session)
        if alive is False and reconnect and (
                not session.transaction and self.may_lose(session)):
            alive = can_renew(session, "opening a connection again")
            if alive:
                prove_ping(session)
        return alive

    def _is_alive(self, session: DbSession) -> bool | None:
        if session.lost or not session.valid or session.is_gone():
            return False
        if session.descriptor is None:  # no time limit is possible
            return self._answers(session)
        start_deadline(session, session.descriptor, session.limit)
        try:
            return self._answers(session)
        finally:
            end_deadline(session)

    def _answers(self, session: DbSession) -> bool | None:
        if session.options.pinger is not None:
            alive = self._ask(session, session.options.pinger)
            if alive:
                trust_ping(session)
            else:
                doubt_ping(session)
            return alive
        if session.can_ask:
            return self._ping(session)
        if session.socket_state() is UNREAD:
            return self._ask(session, SqlPinger(session.profile.question))
        return True

    def _ping(self, session: DbSession) -> bool:
        try:
            return driver_ping(session.con)
        except Exception:  # noqa: BLE001 - any error means not alive
            return False

    def _ask(self, session: DbSession, pinger: Any) -> bool:
        """Ask the server, without leaving a transaction open."""
        in_transaction = session.profile.in_transaction
        was_idle = not session.transaction and (
            in_transaction(session.con) is False
            or (in_transaction(session.con) is None and not session.work))
        alive = ask(pinger, session.con)
        if alive and was_idle and in_transaction(session.con) is not False:
            with quietly("ending the transaction of a ping"):
                session.con.rollback()
        return alive

    def may_lose(self, session: DbSession) -> bool:
        """Tell whether nothing is lost with the driver connection."""
        return session.lost or not (
            session.is_bound() or session.has_work() or session.is_in_memory)

    def replace_if_stale(self, session: DbSession, moment: int) -> None:
        """Replace a connection that is known to be dead, or is due.

        This is called when no work can be lost.
        """
        session.check(moment)
        is_due = session.is_used_up() or (session.ping and session.is_gone())
        if session.lost or (
                is_due and not (session.is_bound() or session.is_in_memory)):
            session.reconnect()


class SafeFailover(_Judge, _Lookout):
    """Fail over only where that is safe."""

    # Whether statements that are no reads are looked at more closely.
    keeps_account = False
    # A question that has failed is asked again on the new connection.
    tolerance = 0

    @property
    def usual(self) -> Any:
        """The rules that call no method of the program; see Replaced."""
        return self

    def with_usual(self, rules: Any) -> Any:
        """Return what rules are used instead of these."""
        return rules

    # Beginning and ending transactions.

    def begin(
            self, session: DbSession, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> None:
        """Begin a transaction, of a new connection if need be."""
        had_work = self._freshen_if_idle(session)
        session.transaction = True
        try:
            session.call_begin(args, kwargs)
        except Exception as error:
            session.transaction = False
            loss = self.loss(session, error, had_work=had_work)
            if not can_repeat(session, error, loss):
                raise
        except BaseException as error:
            session.distrust(error)
            raise
        else:
            return
        session.transaction = True
        session.call_begin(args, kwargs)

    def _freshen_if_idle(self, session: DbSession) -> bool:
        """Replace a dead connection; tell whether there was work instead."""
        had_work = session.has_work()
        if not (session.transaction or had_work):
            self.replace_if_stale(session, 0)
        return had_work

    def alter(
            self, session: DbSession, act: Callable[[], Any],
            kind: Kind = READ) -> Any:
        """Do something directly, on a new connection if need be.

        kind: READ for a change of a setting, which can be done again
        """
        had_work = self._freshen_if_idle(session)
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
        if session.lost:
            if verb == "commit":
                raise session.failure(
                    "The connection was lost, and the transaction with it:"
                    " nothing was committed.")
            return
        try:
            getattr(session.con, verb)()
        except Exception as error:
            self._note_end(session, verb, error)
            raise
        except BaseException as error:
            session.distrust(error)
            raise
        session.work = False

    def _note_end(
            self, session: DbSession, verb: str, error: Exception) -> None:
        """Note what the failure of a commit or rollback means."""
        if not self.is_lost(session, error):
            self.note_error(session, error)
            return
        session.invalidate()
        if verb == "commit":
            add_note(error, OUTCOME_UNKNOWN)

    def was_lost(
            self, session: DbSession,
            error: Exception) -> bool:  # noqa: ARG002 - the line knows
        """Tell whether an error was the loss of the connection."""
        return session.lost

    def reset_session(self, session: DbSession, reset: Any) -> bool:
        """Clean the connection after a visit; tell whether it can stay."""
        is_clean = False
        if session.profile.checks_types:
            explain_refusal(exc_info()[1])
        if not (session.lost or session.closed) and session.valid:
            with quietly("cleaning a connection"):
                is_clean = self._clean(session, reset)
        return is_clean

    def quick_reset(self, session: DbSession) -> bool:
        """Roll back after a visit; tell whether that was all to be done.

        This does in one function what hand_back() does in the usual case.
        """
        if session.profile.checks_types and exc_info()[0] is TypeError:
            explain_refusal(exc_info()[1])
        if session.session_dirty or session.settings_dirty or (
                session.closed or not session.valid):
            return False
        if session.transaction or (
                session.profile.in_transaction(session.con) is not False):
            if session.descriptor is None and session.is_unbounded():
                return False  # it is closed instead
            session.transaction = False
            start_deadline(session, session.descriptor, None)
            try:
                session.con.rollback()
            except Exception as error:  # noqa: BLE001 - nothing is changed
                self._note_end(session, "rollback", error)
                log_swallowed("rolling back", error)
                return False
            except BaseException as error:
                session.distrust(error)
                raise
            finally:
                end_deadline(session)
            if session.can_be_gone and session.descriptor is not None:
                session.answered = monotonic()
        session.work = False
        return True

    def _clean(self, session: DbSession, reset: Any) -> bool:
        dirty = (
            session.session_dirty or session.settings_dirty
            or reset == "session")
        if reset or dirty or session.transaction:
            session.end("rollback")
        if dirty and not session.restore(
                session.session_dirty or reset == "session"):
            return False
        if callable(reset):
            reset(session.con)
        return True

    # Opening cursors and executing statements.

    def cursor(
            self, session: DbSession, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Return a new driver cursor, of a new connection if need be."""
        had_work = session.work
        if had_work is None:
            had_work = session.has_work()
        if not (had_work or session.transaction) and (
                session.ping & 2 or not (session.is_simple and session.valid)):
            self.replace_if_stale(session, 2)
        try:
            if not (args or kwargs):  # as nearly always
                return session.con.cursor()
            return session.con.cursor(*args, **kwargs)
        except Exception as error:
            session.is_bound()  # not by a connection that it has closed itself
            loss = self.loss(session, error, had_work=had_work)
            if not can_repeat(session, error, loss):
                raise
        return session.con.cursor(*args, **kwargs)

    def run(self, state: CursorState, call: Call) -> Any:
        """Make a call of a cursor, again if that loses and doubles nothing."""
        session = state.session
        kind = call.kind()
        had_work = session.has_work()
        if not (session.transaction or had_work):
            self.replace_if_stale(session, 4)
        if state.con is not session.con:
            state.open()
        if not kind.is_read:  # also if this is interrupted
            session.work = None
            session.session_dirty = session.session_dirty or kind.marks or (
                kind is AHEAD and session.profile.sets_ahead)
        try:
            result = state.call(call, state.cursor)
        except BaseException as error:
            if not self._may_repeat(error, state, call, kind, had_work):
                raise
            result = self._make_again(state, call, kind)
        session.usage += 1
        session.has_work()
        return result

    def _may_repeat(
            self, error: BaseException, state: CursorState, call: Call, kind:
            Kind, had_work: bool) -> bool:
        """Return whether a call can be made again after an error.

        The error is not raised here: it would refer to itself through the
        traceback, and a lease that is dropped would wait for the collector.
        """
        session = state.session
        if not isinstance(error, Exception):
            session.work = had_work or session.work  # also if it is closed now
            session.distrust(error)
            return False
        loss = self.loss(session, error, kind, had_work, call)
        return not state.no_failover and can_repeat(session, error, loss)

    def execute(
            self, state: CursorState, kind: Kind | None, operation: Any,
            parameters: Any) -> Any:
        """Execute a statement.

        kind: as in Classic.execute()

        This does in one function what run() does in the usual case.
        """
        session = state.session
        had_work = session.work
        is_read = kind is READ
        if kind is None or had_work is None or (
                not is_read and (kind.marks or self.keeps_account)) or (not
                (session.is_simple and session.valid) or state.has_sizes or
                state.con is not session.con or (session.can_be_gone and not
                (had_work or session.transaction) and session.is_gone())):
            return self.run(state, execution(operation, parameters))
        if not is_read:  # also if this is interrupted
            session.work = None
        try:
            if parameters is NOTHING:
                result = state.cursor.execute(operation)
            else:
                result = state.cursor.execute(operation, parameters)
        except BaseException as error:
            call = execution(operation, parameters)
            if not self._may_repeat(error, state, call, kind, had_work):
                raise
            result = self._make_again(state, call, kind)
        session.usage += 1
        if not is_read:
            session.has_work()
        return result

    def _make_again(self, state: CursorState, call: Call, kind: Kind) -> Any:
        """Make a call a second and last time, on a new connection."""
        try:
            state.open()
            return state.call(call, state.cursor)
        except Exception as error:
            self.loss(state.session, error, kind)
            raise
        except BaseException as error:
            state.session.distrust(error)
            raise


def can_renew(session: Session, step: str) -> bool:
    """Go on with a new connection; tell whether there is one.

    step: what this is called if it fails
    """
    with quietly(step):
        session.reconnect()
        return True
    return False


def can_repeat(session: Session, error: Exception, loss: Loss | None) -> bool:
    """Tell whether there is another connection now to do it again."""
    if loss is None:
        return False
    reason = reason_not_to_repeat(loss)
    if reason is None:
        if can_renew(session, "opening another connection"):
            return True
        reason = "no other connection could be opened"
    add_note(error, f"DBUtils: not executed again, because {reason}.")
    return False
