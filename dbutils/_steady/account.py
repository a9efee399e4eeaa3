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

from .._base.errors import add_note, log_swallowed
from .._drivers.creators import is_clear, is_unsupported
from .classic import driver_ping
from .cursor import Call, CursorState
from .db_session import DbSession
from .deadlines import end_deadline, start_deadline
from .ping import SqlPinger
from .safe import OUTCOME_UNKNOWN, SafeFailover

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


class AskingSafe(SafeFailover):
    """Fail over only where that is safe, and ask in case of doubt."""

    def is_lost(self, session: DbSession, error: Exception) -> bool:
        lost = self._verdict(session, error)
        if lost is None:
            lost = not self._still_answers(session)
            if not lost and _LATE.search(str(error)):
                session.valid = False  # its answer may still come
        return lost

    def _verdict(self, session: DbSession, error: Exception) -> bool | None:
        """Tell whether an error is a loss, None if it does not say."""
        options = session.options
        is_listed = isinstance(error, session.failures)
        if options.isfatal is not None and is_listed:
            return options.is_fatal(error)
        if options.failures is not None and not is_listed:
            return False
        lost = session.profile.is_loss(error)
        if lost is None and session.is_gone():
            lost = True
        if lost is None and (
                session.profile.is_known or self._is_clear(session, error)):
            lost = False
        return lost

    def _is_clear(self, session: DbSession, error: Exception) -> bool:
        """Tell whether an error cannot be a loss."""
        if is_clear(error):
            return True
        errors = getattr(session.dbapi, "Error", Exception)
        return not isinstance(error, (errors, OSError, EOFError))

    def _still_answers(self, session: DbSession) -> bool:
        """Ask on the same connection whether it is alive.

        Any transaction goes on, as the question is part of it.
        """
        question = session.options.pinger or SqlPinger(
            session.profile.question)
        start_deadline(session, session.descriptor, session.limit)
        try:
            answer = question(session.con)
        except Exception as error:  # noqa: BLE001 - it may say that it lives
            return session.profile.is_loss(error) is False
        finally:
            end_deadline(session)
        return answer is None or bool(answer)

    def _note_end(
            self, session: DbSession, verb: str, error: Exception) -> None:
        if is_unsupported(error):
            return
        if self._verdict(session, error) is False:
            self.note_error(session, error)
            return
        session.invalidate()
        if verb == "commit":
            add_note(error, OUTCOME_UNKNOWN)

    def _clean(self, session: DbSession, reset: Any) -> bool:
        dirty = (
            session.session_dirty or session.settings_dirty
            or reset == "session")
        if reset or dirty or session.transaction:
            self._roll_back(session)
        if dirty and not session.restore(
                session.session_dirty or reset == "session"):
            return False
        if callable(reset):
            reset(session.con)
        return True

    def _roll_back(self, session: DbSession) -> None:
        """Roll back, unless the driver has no transactions."""
        try:
            session.end("rollback")
        except Exception as error:
            if not is_unsupported(error):
                raise
            log_swallowed("rolling back", error)
            session.work = False

    def _ping(self, session: DbSession) -> bool:
        try:
            return driver_ping(session.con)
        except (AttributeError, IndexError, TypeError, ValueError):
            session.can_ask = False  # its ping() is for something else
            return True
        except Exception:  # noqa: BLE001 - any other error means not alive
            return False


class OwnAccount(AskingSafe):
    """Fail over only where that is safe, with an account of our own."""

    keeps_account = True

    def quick_reset(self, session: DbSession) -> bool:
        """Roll back after a visit; tell whether that was all to be done.

        The driver is not asked first, since it does not tell.
        """
        if session.session_dirty or session.settings_dirty or (
                session.closed or not session.valid) or (
                session.descriptor is not None):
            return False
        session.transaction = False
        try:
            session.con.rollback()
        except Exception as error:  # noqa: BLE001 - nothing is changed
            log_swallowed("rolling back", error)
            if not is_unsupported(error):
                self._note_end(session, "rollback", error)
                return False
        except BaseException as error:
            session.distrust(error)
            raise
        session.work = False
        return True

    def run(self, state: CursorState, call: Call) -> Any:
        session = state.session
        had_work = session.has_work()
        is_done = False
        try:
            result = super().run(state, call)
            is_done = True
        finally:
            if not session.lost:
                self._note(session, call, had_work, is_done)
        return result

    def _note(
            self, session: DbSession, call: Call, had_work: bool,
            is_done: bool) -> None:
        """Note what a statement means for the open transaction."""
        if had_work and session.work is None:
            session.work = True
        text = call.args[0] if call.args else None
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        if not (call.takes_sizes and isinstance(text, str)):
            return
        find = _known_effect_of if len(text) <= _LONGEST else _effect_of
        effect = find(text)
        if effect is _END and is_done:
            session.work = session.transaction = False
        elif effect is _BEGIN and (
                session.profile.in_transaction(session.con) is False):
            session.transaction = True


class Independent(AskingSafe):
    """Fail over with a database that has no transactions.

    Nothing is committed or rolled back unless the program does so.
    """

    def begin(
            self, session: DbSession, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> None:
        self.replace_if_stale(session, 0)
        session.call_begin(args, kwargs)

    def end(self, session: DbSession, verb: str) -> None:
        if not session.lost:
            getattr(session.con, verb)()

    def was_lost(
            self, session: DbSession,  # noqa: ARG002 - the same for all
            error: Exception) -> bool:  # noqa: ARG002 - as above
        """Tell that no error is one after which all can be done again."""
        return False

    def quick_reset(self, session: DbSession) -> bool:
        session.transaction = False
        return not (
            session.session_dirty or session.settings_dirty or
            session.closed) and session.valid

    def _roll_back(self, session: DbSession) -> None:
        """Leave it at that."""
        session.transaction = False
