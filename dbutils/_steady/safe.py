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

from .._base.errors import add_note, note_swallowed, quietly
from .classic import driver_ping
from .cursor import NOTHING, Call, Hand, execution
from .db_session import DbLine
from .deadlines import forget, watch
from .decisions import Loss, reason_not_to_repeat
from .mistakes import explain_refusal, explain_thread
from .ping import SqlPinger, ask
from .sockets import UNREAD
from .statements import AHEAD, READ, Kind
from .steady import Line, doubt_ping, prove_ping, trust_ping

__all__ = ["OUTCOME_UNKNOWN", "Safe", "can_repeat"]

OUTCOME_UNKNOWN = (
    "DBUtils: the connection was lost in commit(),"
    " it is unknown whether the transaction was committed.")


# Opening a cursor or a transaction does nothing that could be done twice.
_NOTHING_SENT = READ


class _Judge:
    """Tells what an error means."""

    def __init__(self, replays: bool) -> None:
        self._replays = replays

    def is_lost(self, line: DbLine, error: Exception) -> bool:
        """Tell whether an error means that the connection is lost."""
        listed = isinstance(error, line.failures)
        if line.terms.isfatal is not None and listed:
            return line.terms.is_fatal(error)
        if line.terms.failures is not None and not listed:
            return False
        lost = line.profile.is_loss(error)
        if lost is None:
            lost = line.is_gone() or (listed and not line.profile.is_known)
        return lost

    def note_error(self, line: DbLine, error: Exception) -> None:
        """Note an error after which the connection stays."""
        if line.profile.in_transaction(line.con) is not None:
            line.work = None
        if line.profile.is_read_only(error):
            line.valid = False
        explain_thread(error)
        line.doubt(error)

    def loss(
            self, line: DbLine, error: Exception, kind: Kind = _NOTHING_SENT,
            had_work: bool = False, call: Call | None = None) -> Loss | None:
        """Return what would be lost or doubled, None if nothing was lost."""
        if not self.is_lost(line, error):
            self.note_error(line, error)
            return None
        loss = Loss(
            in_transaction=line.transaction, has_work=had_work,
            is_marked=line.marked or line.exposed, is_private=line.private,
            is_read=kind.is_read, is_forbidden=not self._replays,
            is_exhausted=call is not None and not call.can_be_repeated)
        if not loss.is_private:
            line.give_up()
        return loss


class _Lookout:
    """Looks at a connection before it is used."""

    def check(
            self, line: DbLine, reconnect: bool,
            is_dead: bool = False) -> bool | None:
        """Tell whether the connection is alive, None if that is unknown."""
        alive = False if is_dead else self._is_alive(line)
        if alive is False and reconnect and (
                not line.transaction and self.may_lose(line)):
            alive = can_renew(line, "opening a connection again")
            if alive:
                prove_ping(line)
        return alive

    def _is_alive(self, line: DbLine) -> bool | None:
        if line.lost or not line.valid or line.is_gone():
            return False
        if line.descriptor is None:  # no time limit is possible
            return self._answers(line)
        watch(line, line.descriptor, line.limit)
        try:
            return self._answers(line)
        finally:
            forget(line)

    def _answers(self, line: DbLine) -> bool | None:
        if line.terms.pinger is not None:
            alive = self._ask(line, line.terms.pinger)
            if alive:
                trust_ping(line)
            else:
                doubt_ping(line)
            return alive
        if line.can_ask:
            return self._ping(line)
        if line.sight() is UNREAD:
            return self._ask(line, SqlPinger(line.profile.question))
        return True

    def _ping(self, line: DbLine) -> bool:
        try:
            return driver_ping(line.con)
        except Exception:  # noqa: BLE001 - any error means not alive
            return False

    def _ask(self, line: DbLine, pinger: Any) -> bool:
        """Ask the server, without leaving a transaction open."""
        in_transaction = line.profile.in_transaction
        was_idle = not line.transaction and (
            in_transaction(line.con) is False
            or (in_transaction(line.con) is None and not line.work))
        alive = ask(pinger, line.con)
        if alive and was_idle and in_transaction(line.con) is not False:
            with quietly("ending the transaction of a ping"):
                line.con.rollback()
        return alive

    def may_lose(self, line: DbLine) -> bool:
        """Tell whether nothing is lost with the driver connection."""
        return line.lost or not (
            line.is_bound() or line.has_work() or line.private)

    def freshen(self, line: DbLine, moment: int) -> None:
        """Replace a connection that is known to be dead, or is due.

        This is called when no work can be lost.
        """
        line.check(moment)
        is_due = line.is_used_up() or (line.ping and line.is_gone())
        if line.lost or (is_due and not (line.is_bound() or line.private)):
            line.renew()


class Safe(_Judge, _Lookout):
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
            self, line: DbLine, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> None:
        """Begin a transaction, of a new connection if need be."""
        had_work = self._freshen_if_idle(line)
        line.transaction = True
        try:
            line.call_begin(args, kwargs)
        except Exception as error:
            line.transaction = False
            loss = self.loss(line, error, had_work=had_work)
            if not can_repeat(line, error, loss):
                raise
        except BaseException as error:
            line.doubt(error)
            raise
        else:
            return
        line.transaction = True
        line.call_begin(args, kwargs)

    def _freshen_if_idle(self, line: DbLine) -> bool:
        """Replace a dead connection; tell whether there was work instead."""
        had_work = line.has_work()
        if not (line.transaction or had_work):
            self.freshen(line, 0)
        return had_work

    def alter(
            self, line: DbLine, act: Callable[[], Any],
            kind: Kind = READ) -> Any:
        """Do something directly, on a new connection if need be.

        kind: READ for a change of a setting, which can be done again
        """
        had_work = self._freshen_if_idle(line)
        try:
            return act()
        except Exception as error:
            line.is_bound()  # not by a connection that it has closed itself
            loss = self.loss(line, error, kind, had_work)
            if not can_repeat(line, error, loss):
                raise
        except BaseException as error:
            line.doubt(error)
            raise
        return act()

    def end(self, line: DbLine, verb: str) -> None:
        """Commit or roll back; that is never done again."""
        if line.lost:
            if verb == "commit":
                raise line.failure(
                    "The connection was lost, and the transaction with it:"
                    " nothing was committed.")
            return
        try:
            getattr(line.con, verb)()
        except Exception as error:
            self._note_end(line, verb, error)
            raise
        except BaseException as error:
            line.doubt(error)
            raise
        line.work = False

    def _note_end(self, line: DbLine, verb: str, error: Exception) -> None:
        """Note what the failure of a commit or rollback means."""
        if not self.is_lost(line, error):
            self.note_error(line, error)
            return
        line.give_up()
        if verb == "commit":
            add_note(error, OUTCOME_UNKNOWN)

    def was_lost(
            self, line: DbLine,
            error: Exception) -> bool:  # noqa: ARG002 - the line knows
        """Tell whether an error was the loss of the connection."""
        return line.lost

    def hand_back(self, line: DbLine, reset: Any) -> bool:
        """Clean the connection after a visit; tell whether it can stay."""
        is_clean = False
        if line.profile.checks_types:
            explain_refusal(exc_info()[1])
        if not (line.lost or line.closed) and line.valid:
            with quietly("cleaning a connection"):
                is_clean = self._clean(line, reset)
        return is_clean

    def rinse(self, line: DbLine) -> bool:
        """Roll back after a visit; tell whether that was all to be done.

        This does in one function what hand_back() does in the usual case.
        """
        if line.profile.checks_types and exc_info()[0] is TypeError:
            explain_refusal(exc_info()[1])
        if line.marked or line.touched or line.closed or not line.valid:
            return False
        if line.transaction or (
                line.profile.in_transaction(line.con) is not False):
            if line.descriptor is None and line.is_unbounded():
                return False  # it is closed instead
            line.transaction = False
            watch(line, line.descriptor, None)
            try:
                line.con.rollback()
            except Exception as error:  # noqa: BLE001 - nothing is changed
                self._note_end(line, "rollback", error)
                note_swallowed("rolling back", error)
                return False
            except BaseException as error:
                line.doubt(error)
                raise
            finally:
                forget(line)
            if line.can_be_gone and line.descriptor is not None:
                line.answered = monotonic()
        line.work = False
        return True

    def _clean(self, line: DbLine, reset: Any) -> bool:
        dirty = line.marked or line.touched or reset == "session"
        if reset or dirty or line.transaction:
            line.end("rollback")
        if dirty and not line.restore(line.marked or reset == "session"):
            return False
        if callable(reset):
            reset(line.con)
        return True

    # Opening cursors and executing statements.

    def cursor(
            self, line: DbLine, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Return a new driver cursor, of a new connection if need be."""
        had_work = line.work
        if had_work is None:
            had_work = line.has_work()
        if not (had_work or line.transaction) and (
                line.ping & 2 or not (line.is_simple and line.valid)):
            self.freshen(line, 2)
        try:
            if not (args or kwargs):  # as nearly always
                return line.con.cursor()
            return line.con.cursor(*args, **kwargs)
        except Exception as error:
            line.is_bound()  # not by a connection that it has closed itself
            loss = self.loss(line, error, had_work=had_work)
            if not can_repeat(line, error, loss):
                raise
        return line.con.cursor(*args, **kwargs)

    def run(self, hand: Hand, call: Call) -> Any:
        """Make a call of a cursor, again if that loses and doubles nothing."""
        line = hand.line
        kind = call.kind()
        had_work = line.has_work()
        if not (line.transaction or had_work):
            self.freshen(line, 4)
        if hand.con is not line.con:
            hand.open()
        if not kind.is_read:  # also if this is interrupted
            line.work = None
            line.marked = line.marked or kind.marks or (
                kind is AHEAD and line.profile.sets_ahead)
        try:
            result = hand.call(call, hand.cursor)
        except BaseException as error:
            if not self._may_repeat(error, hand, call, kind, had_work):
                raise
            result = self._make_again(hand, call, kind)
        line.usage += 1
        line.has_work()
        return result

    def _may_repeat(
            self, error: BaseException, hand: Hand, call: Call, kind: Kind,
            had_work: bool) -> bool:
        """Return whether a call can be made again after an error.

        The error is not raised here: it would refer to itself through the
        traceback, and a lease that is dropped would wait for the collector.
        """
        line = hand.line
        if not isinstance(error, Exception):
            line.work = had_work or line.work  # also if it is closed now
            line.doubt(error)
            return False
        loss = self.loss(line, error, kind, had_work, call)
        return not hand.no_failover and can_repeat(line, error, loss)

    def execute(
            self, hand: Hand, kind: Kind | None, operation: Any,
            parameters: Any) -> Any:
        """Execute a statement.

        kind: as in Classic.execute()

        This does in one function what run() does in the usual case.
        """
        line = hand.line
        had_work = line.work
        is_read = kind is READ
        if kind is None or had_work is None or (
                not is_read and (kind.marks or self.keeps_account)) or (
                not (line.is_simple and line.valid) or hand.has_sizes
                or hand.con is not line.con or (
                    line.can_be_gone and not (had_work or line.transaction)
                    and line.is_gone())):
            return self.run(hand, execution(operation, parameters))
        if not is_read:  # also if this is interrupted
            line.work = None
        try:
            if parameters is NOTHING:
                result = hand.cursor.execute(operation)
            else:
                result = hand.cursor.execute(operation, parameters)
        except BaseException as error:
            call = execution(operation, parameters)
            if not self._may_repeat(error, hand, call, kind, had_work):
                raise
            result = self._make_again(hand, call, kind)
        line.usage += 1
        if not is_read:
            line.has_work()
        return result

    def _make_again(self, hand: Hand, call: Call, kind: Kind) -> Any:
        """Make a call a second and last time, on a new connection."""
        try:
            hand.open()
            return hand.call(call, hand.cursor)
        except Exception as error:
            self.loss(hand.line, error, kind)
            raise
        except BaseException as error:
            hand.line.doubt(error)
            raise


def can_renew(line: Line, step: str) -> bool:
    """Go on with a new connection; tell whether there is one.

    step: what this is called if it fails
    """
    with quietly(step):
        line.renew()
        return True
    return False


def can_repeat(line: Line, error: Exception, loss: Loss | None) -> bool:
    """Tell whether there is another connection now to do it again."""
    if loss is None:
        return False
    reason = reason_not_to_repeat(loss)
    if reason is None:
        if can_renew(line, "opening another connection"):
            return True
        reason = "no other connection could be opened"
    add_note(error, f"DBUtils: not executed again, because {reason}.")
    return False
