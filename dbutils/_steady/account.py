"""The safe rules for drivers of which less is known.

An error that says nothing is clarified by a question, unless it came while a
transaction was ended.  Where a driver does not tell whether work is open, the
library keeps account: everything but a read counts as work until the next
commit or rollback, unless each statement is known to be committed at once.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from .._base.errors import add_note, note_swallowed
from .._drivers.creators import is_clear, is_unsupported
from .classic import driver_ping
from .cursor import Call, Hand
from .db_session import DbLine
from .deadlines import forget, watch
from .ping import SqlPinger
from .safe import OUTCOME_UNKNOWN, Safe

__all__ = ["AskingSafe", "Independent", "OwnAccount"]

# Statements that begin a transaction although each is committed at once, and
# those that end it.
_BEGINS = re.compile(
    r"(?:^[^\S\n]*|(?:;|\*/)\s*)(?:begin\b|start\s+transaction\b|savepoint\b|xa\s"
    r"|set\s+(?:\w+\s+)?(?:autocommit|implicit_transactions)\b)",
    re.I | re.M)
_ENDS = re.compile(
    r"\s*(?:commit|rollback)(?:\s+(?:work|transaction|tran))?\s*;?\s*\Z",
    re.I)
_BEGIN, _END = "begin", "end"


_LONGEST = 1000  # of what is kept, to be found faster


def _effect_of(statement: str) -> str | None:
    """Return what a statement does with the transaction."""
    if _ENDS.match(statement):
        return _END
    return _BEGIN if _BEGINS.search(statement) else None


_known_effect_of = lru_cache(maxsize=500)(_effect_of)

_LATE = re.compile("timed? ?-?out", re.I)


class AskingSafe(Safe):
    """Fail over only where that is safe, and ask in case of doubt."""

    def is_lost(self, line: DbLine, error: Exception) -> bool:
        lost = self._verdict(line, error)
        if lost is None:
            lost = not self._still_answers(line)
            if not lost and _LATE.search(str(error)):
                line.valid = False  # its answer may still come
        return lost

    def _verdict(self, line: DbLine, error: Exception) -> bool | None:
        """Tell whether an error is a loss, None if it does not say."""
        terms = line.terms
        is_listed = isinstance(error, line.failures)
        if terms.isfatal is not None and is_listed:
            return terms.is_fatal(error)
        if terms.failures is not None and not is_listed:
            return False
        lost = line.profile.is_loss(error)
        if lost is None and line.is_gone():
            lost = True
        if lost is None and (
                line.profile.is_known or self._is_clear(line, error)):
            lost = False
        return lost

    def _is_clear(self, line: DbLine, error: Exception) -> bool:
        """Tell whether an error cannot be a loss."""
        if is_clear(error):
            return True
        errors = getattr(line.dbapi, "Error", Exception)
        return not isinstance(error, (errors, OSError, EOFError))

    def _still_answers(self, line: DbLine) -> bool:
        """Ask on the same connection whether it is alive.

        Any transaction goes on, as the question is part of it.
        """
        question = line.terms.pinger or SqlPinger(line.profile.question)
        watch(line, line.descriptor, line.limit)
        try:
            answer = question(line.con)
        except Exception as error:  # noqa: BLE001 - it may say that it lives
            return line.profile.is_loss(error) is False
        finally:
            forget(line)
        return answer is None or bool(answer)

    def _note_end(self, line: DbLine, verb: str, error: Exception) -> None:
        if is_unsupported(error):
            return
        if self._verdict(line, error) is False:
            self.note_error(line, error)
            return
        line.give_up()
        if verb == "commit":
            add_note(error, OUTCOME_UNKNOWN)

    def _clean(self, line: DbLine, reset: Any) -> bool:
        dirty = line.marked or line.touched or reset == "session"
        if reset or dirty or line.transaction:
            self._roll_back(line)
        if dirty and not line.restore(line.marked or reset == "session"):
            return False
        if callable(reset):
            reset(line.con)
        return True

    def _roll_back(self, line: DbLine) -> None:
        """Roll back, unless the driver has no transactions."""
        try:
            line.end("rollback")
        except Exception as error:
            if not is_unsupported(error):
                raise
            note_swallowed("rolling back", error)
            line.work = False

    def _ping(self, line: DbLine) -> bool:
        try:
            return driver_ping(line.con)
        except (AttributeError, IndexError, TypeError, ValueError):
            line.can_ask = False  # its ping() is for something else
            return True
        except Exception:  # noqa: BLE001 - any other error means not alive
            return False


class OwnAccount(AskingSafe):
    """Fail over only where that is safe, with an account of our own."""

    keeps_account = True

    def rinse(self, line: DbLine) -> bool:
        """Roll back after a visit; tell whether that was all to be done.

        The driver is not asked first, since it does not tell.
        """
        if line.marked or line.touched or line.closed or not line.valid or (
                line.descriptor is not None):
            return False
        line.transaction = False
        try:
            line.con.rollback()
        except Exception as error:  # noqa: BLE001 - nothing is changed
            note_swallowed("rolling back", error)
            if not is_unsupported(error):
                self._note_end(line, "rollback", error)
                return False
        except BaseException as error:
            line.doubt(error)
            raise
        line.work = False
        return True

    def run(self, hand: Hand, call: Call) -> Any:
        line = hand.line
        had_work = line.has_work()
        is_done = False
        try:
            result = super().run(hand, call)
            is_done = True
        finally:
            if not line.lost:
                self._note(line, call, had_work, is_done)
        return result

    def _note(
            self, line: DbLine, call: Call, had_work: bool,
            is_done: bool) -> None:
        """Note what a statement means for the open transaction."""
        if had_work and line.work is None:
            line.work = True
        text = call.args[0] if call.args else None
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        if not (call.takes_sizes and isinstance(text, str)):
            return
        find = _known_effect_of if len(text) <= _LONGEST else _effect_of
        effect = find(text)
        if effect is _END and is_done:
            line.work = line.transaction = False
        elif effect is _BEGIN and (
                line.profile.in_transaction(line.con) is False):
            line.transaction = True


class Independent(AskingSafe):
    """Fail over with a database that has no transactions.

    Nothing is committed or rolled back unless the program does so.
    """

    def begin(
            self, line: DbLine, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> None:
        self.freshen(line, 0)
        line.call_begin(args, kwargs)

    def end(self, line: DbLine, verb: str) -> None:
        if not line.lost:
            getattr(line.con, verb)()

    def was_lost(
            self, line: DbLine,  # noqa: ARG002 - the same for all
            error: Exception) -> bool:  # noqa: ARG002 - as above
        """Tell that no error is one after which all can be done again."""
        return False

    def rinse(self, line: DbLine) -> bool:
        line.transaction = False
        return not (
            line.marked or line.touched or line.closed) and line.valid

    def _roll_back(self, line: DbLine) -> None:
        """Leave it at that."""
        line.transaction = False
