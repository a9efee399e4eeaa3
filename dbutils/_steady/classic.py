"""The rules of DBUtils 3.x for failing over.

Outside of begin() any error that can mean a lost connection is taken as such,
and the statement is tried again: with another cursor, then with another
connection.  This can tear transactions apart that the driver has opened by
itself, and execute statements twice.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from .._base.errors import note_swallowed, quietly
from .cursor import NOTHING, Call, Hand, execution
from .db_session import DbLine
from .decisions import Spare, Verdict, judge
from .ping import ask
from .statements import READ, Kind
from .steady import doubt_ping, prove_ping, trust_ping

__all__ = ["Classic"]


class _Done(NamedTuple):
    """The end of a rung of the failover ladder that succeeded."""

    result: Any


class _Ladder:
    """What is tried one after the other.

    Each rung returns None if it has not helped.  The failure is the kind of
    error that began it, if that came from the driver.
    """

    def repeat(self, hand: Hand, call: Call, failure: Any) -> _Done | None:
        """Climb the ladder."""
        done = self._repeat_here(hand, call)
        if done is None:
            done = self._repeat_elsewhere(hand, call, failure)
        if done is not None:
            hand.moved = True
            hand.line.usage += 1
        return done

    def _repeat_here(self, hand: Hand, call: Call) -> _Done | None:
        """Try once more with another cursor of this connection."""
        cursor = done = None
        with quietly(f"repeating {call.name} on the same connection"):
            cursor = hand.line.cursor(hand.args, hand.kwargs)
            done = _Done(hand.call(call, cursor))
        if done is not None:
            hand.move_to(cursor)
        elif cursor is not None:
            with quietly("closing a cursor"):
                cursor.close()
        return done

    def _repeat_elsewhere(
            self, hand: Hand, call: Call, failure: Any) -> _Done | None:
        """Try once more with another connection.

        That connection is kept if the same failure does not come again.
        """
        with Spare(hand.line.open_again, hand.args, hand.kwargs) as spare:
            if spare.cursor is None:
                return None
            try:
                done = _Done(hand.call(call, spare.cursor))
            except failure:
                return None
            except Exception:
                self._take(hand, spare)
                hand.line.usage += 1
                raise
            self._take(hand, spare)
            return done

    def replace(self, hand: Hand) -> None:
        """Replace the connection at the end of a broken transaction."""
        with Spare(hand.line.open_again, hand.args, hand.kwargs) as spare:
            if spare.cursor is not None:
                self._take(hand, spare)
        hand.line.transaction = False

    def _take(self, hand: Hand, spare: Spare) -> None:
        """Go on with another connection and a cursor of it."""
        con, cursor = spare.keep()
        hand.close()
        hand.line.replace(con)
        hand.move_to(cursor)
        hand.moved = True


class Classic(_Ladder):
    """Fail over as DBUtils 3.x does."""

    # So often in a row the question of a ping may fail until a new connection
    # is asked, too; DBUtils 3.x never does that.
    tolerance = 3

    @property
    def usual(self) -> Any:
        """The rules that call no method of the program; see Replaced."""
        return self

    def check(
            self, line: DbLine, reconnect: bool,
            is_dead: bool = False) -> bool | None:
        """Tell whether the connection is alive, None if that is unknown."""
        alive = False if is_dead else self._is_alive(line)
        if alive:
            return True
        if alive is None:
            line.ask_at(0)  # the driver has no ping(): never ask again
        elif not alive and reconnect and not line.transaction:
            alive = line.reopen()
            if alive:
                prove_ping(line)
        return alive

    def _is_alive(self, line: DbLine) -> bool | None:
        if not line.valid:
            return False
        if line.terms.pinger is not None:
            alive = ask(line.terms.pinger, line.con)
            if alive:
                trust_ping(line)
            else:
                doubt_ping(line)
            return alive
        try:
            return driver_ping(line.con)
        except (AttributeError, IndexError, TypeError, ValueError):
            return None
        except Exception:  # noqa: BLE001 - any other error means not alive
            return False

    def begin(
            self, line: DbLine, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> None:
        """Begin a transaction."""
        line.transaction = True
        line.call_begin(args, kwargs)

    def end(self, line: DbLine, verb: str) -> None:
        """Commit or roll back; reconnect if that reports a failure."""
        try:
            getattr(line.con, verb)()
        except line.failures:
            line.reopen()
            raise
        line.work = False

    def alter(
            self, line: DbLine,  # noqa: ARG002 - the safe rules need it
            act: Callable[[], Any],
            kind: Kind = READ) -> Any:  # noqa: ARG002 - likewise
        """Change a setting, or do something else directly."""
        return act()

    def rinse(self, line: DbLine) -> bool:
        """Roll back after a visit; tell whether that was all to be done.

        This does in one function what hand_back() does in the usual case.
        """
        if line.touched or line.closed or line.descriptor is not None:
            return False
        line.transaction = False
        try:
            line.con.rollback()
        except Exception as error:  # noqa: BLE001 - nothing is changed
            if isinstance(error, line.failures):
                line.reopen()
            note_swallowed("rolling back", error)
        except BaseException:
            line.lost = True  # an answer may be unread
            raise
        else:
            line.work = False
        return True

    def was_lost(self, line: DbLine, error: Exception) -> bool:
        """Tell whether an error was taken as the loss of the connection."""
        return isinstance(error, line.failures) and line.terms.is_fatal(error)

    def hand_back(self, line: DbLine, reset: Any) -> bool:
        """Clean the connection after a visit; tell whether it can stay."""
        if line.lost:
            return False
        line.clean(reset)
        if line.touched and not line.restore(renew=False):
            return False
        if reset is True or reset is False:  # as nearly always
            return True
        if callable(reset):
            reset(line.con)
        return reset != "session"

    def cursor(
            self, line: DbLine, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Return a new driver cursor, of a new connection if need be."""
        in_transaction = line.transaction
        if not in_transaction:
            if line.ping & 2:
                line.check(2)
            if not (line.is_simple and line.valid) and line.is_used_up():
                return self._cursor_when_due(line, args, kwargs)
        try:
            if not (args or kwargs):  # as nearly always
                return line.con.cursor()
            return line.con.cursor(*args, **kwargs)
        except line.failures as error:
            verdict = judge(line.terms.is_fatal(error), in_transaction)
            if verdict is Verdict.RAISE:
                raise
            cursor = self._cursor_anew(line, args, kwargs)
            if cursor is None or verdict is Verdict.REPLACE:
                raise
            return cursor

    def _cursor_when_due(
            self, line: DbLine, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Return a cursor of a new connection, since the old has served."""
        cursor = self._cursor_anew(line, args, kwargs)
        if cursor is None:
            raise line.failure(line.used_up_text())
        return cursor

    def _cursor_anew(
            self, line: DbLine, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> Any:
        """Replace the connection; return a cursor of it, None if in vain."""
        with Spare(line.open_again, args, kwargs) as spare:
            if spare.cursor is None:
                line.transaction = False
                return None
            con, cursor = spare.keep()
            line.replace(con)
            return cursor

    def run(self, hand: Hand, call: Call) -> Any:
        """Make a call of a cursor, again if the connection was lost."""
        line = hand.line
        in_transaction = line.transaction
        if not call.kind().is_read:
            line.work = True
        if not in_transaction:
            line.check(4)
            if line.is_used_up():
                return self._run_when_due(hand, call)
        try:
            result = hand.call(call, self._open_cursor(hand))
        except line.failures as error:
            done = self._after(error, hand, call, in_transaction)
            if done is None:
                raise
            return done.result
        line.usage += 1
        return result

    def _after(
            self, error: Exception, hand: Hand, call: Call,
            in_transaction: bool) -> _Done | None:
        """Try again after an error that can mean a loss, if that may help.

        The error is not raised here, where it would refer to itself.
        """
        fatal = not hand.no_failover and hand.line.terms.is_fatal(error)
        verdict = judge(fatal, in_transaction)
        if verdict is Verdict.REPLACE:
            self.replace(hand)
        if verdict is not Verdict.REPEAT:
            return None
        return self.repeat(hand, call, type(error))

    def execute(
            self, hand: Hand, kind: Kind | None, operation: Any,
            parameters: Any) -> Any:
        """Execute a statement.

        kind: what is known about it, if it was seen before

        This does in one function what run() does in the usual case.
        """
        line = hand.line
        if kind is None or not (line.is_simple and line.valid) or (
                hand.moved or hand.has_sizes):
            return self.run(hand, execution(operation, parameters))
        if kind is not READ:
            line.work = True
        in_transaction = line.transaction
        try:
            if parameters is NOTHING:
                result = hand.cursor.execute(operation)
            else:
                result = hand.cursor.execute(operation, parameters)
        except line.failures as error:
            done = self._after(
                error, hand, execution(operation, parameters), in_transaction)
            if done is None:
                raise
            result = done.result
        else:
            line.usage += 1
        return result

    def _run_when_due(self, hand: Hand, call: Call) -> Any:
        """Make a call on a new connection, since the old has served."""
        line = hand.line
        text = line.used_up_text()
        done = self.repeat(hand, call, failure=())
        if done is None:
            raise line.failure(text)
        return done.result

    def _open_cursor(self, hand: Hand) -> Any:
        """Return the driver cursor.

        As in DBUtils 3.x, a cursor that was moved to a new connection can
        go on to be used after it was closed.
        """
        if hand.closed and hand.moved:
            hand.move_to(hand.line.con.cursor(*hand.args, **hand.kwargs))
        return hand.cursor


def driver_ping(con: Any) -> bool:
    """Ask with the driver's own method, which should not reconnect."""
    try:
        alive = con.ping(False)
    except TypeError:  # it does not know this flag
        alive = con.ping()
    return alive is None or bool(alive)
