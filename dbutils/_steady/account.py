"""The safe failover policy for drivers that tell nothing about transactions.

The library keeps account of open work itself: everything but a read counts as
work until the next commit or rollback, unless each statement is known to be
committed at once.  Where there are no transactions, there is no account.
"""

from __future__ import annotations

from functools import lru_cache

from .._base.errors import log_swallowed
from .._base.hints import Any
from .._drivers.creators import is_unsupported
from .calls import call_begin
from .cursor import Call, ReplaceableCursor, execution
from .db_session import DbSession
from .losses import note_end
from .safe import SafeFailover
from .state import LOST, OPEN
from .statements import LazyPattern

__all__ = ["INDEPENDENT", "OWN_ACCOUNT", "Independent", "OwnAccount"]

# Statements that begin a transaction although each is committed at once, and
# those that end it.  The former begin a line, or follow another statement.
_BEGINS = (
    r"(?:begin\b|start\s+transaction\b|savepoint\b|xa\s"
    r"|set\s+(?:\w+\s+)?(?:autocommit|implicit_transactions)\b)")
_BEGINS_FIRST = LazyPattern(r"[^\S\n]*" + _BEGINS, "i")
_BEGINS_LATER = LazyPattern(
    r"[\n;*](?:(?<=\n)[^\S\n]*|(?:(?<=;)|(?<=\*)/)\s*)" + _BEGINS, "i")
_ENDS = LazyPattern(
    r"\s*(?:commit|rollback)(?:\s+(?:work|transaction|tran))?\s*;?\s*\Z",
    "i")
_BEGIN, _END = "begin", "end"


_LONGEST = 1000  # characters of the statements that are kept


def _effect_of(statement: str) -> str | None:
    """Return what a statement does with the transaction."""
    if _ENDS.match(statement):
        return _END
    if _BEGINS_FIRST.match(statement) or _BEGINS_LATER.search(statement):
        return _BEGIN
    return None


_known_effect_of = lru_cache(maxsize=500)(_effect_of)


class OwnAccount(SafeFailover):
    """Fail over only where that is safe by the account of the library."""

    only_rolls_back = True

    def quick_reset(self, session: DbSession) -> bool:
        """Roll back after a lease; return whether that was all to be done.

        The driver is not asked first, since it does not tell.
        """
        if session.is_marked or session.settings_changed or (
                session.closed or session.state) or (  # it is not OPEN
                session.descriptor is not None):
            return False
        session.transaction = False
        try:
            session.con.rollback()
        except Exception as error:  # noqa: BLE001 - nothing is changed
            return self.bears(session, error)
        except BaseException as error:
            session.distrust(error)
            raise
        session.work = False
        return not session.is_retired  # perhaps since the rollback began

    leave = quick_reset

    def bears(self, session: DbSession, error: Exception) -> bool:
        """Return whether a session can stay after its rollback has failed."""
        log_swallowed("rolling back", error)
        if not is_unsupported(error):
            note_end(session, "rollback", error)
            return False
        session.transaction = session.work = False
        return True

    def execute(
            self, session: DbSession, cursor: ReplaceableCursor,
            operation: Any, parameters: Any) -> Any:
        return self.run(session, cursor, execution(operation, parameters))

    def run(
            self, session: DbSession, cursor: ReplaceableCursor,
            call: Call) -> Any:
        had_work = session.has_work()
        is_done = False
        try:
            result = super().run(session, cursor, call)
            is_done = True
        finally:
            if session.state < LOST:
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
                session.driver.in_transaction(session.con) is False):
            session.transaction = True


class Independent(SafeFailover):
    """Fail over with a database that has no transactions.

    Nothing is committed or rolled back unless the program does so.
    """

    def begin(
            self, session: DbSession, args: tuple[Any, ...],
            kwargs: dict[str, Any]) -> None:
        self._replace_if_stale(session, 0)
        call_begin(session.con, args, kwargs)

    def end(self, session: DbSession, verb: str) -> None:
        if session.state < LOST:
            getattr(session.con, verb)()

    def was_lost(
            self, session: DbSession,  # noqa: ARG002 - the answer is fixed
            error: Exception) -> bool:  # noqa: ARG002 - the answer is fixed
        """Return False: after no error all can be done again."""
        return False

    def quick_reset(self, session: DbSession) -> bool:
        session.transaction = False
        return not (
            session.is_marked or session.settings_changed or
            session.closed) and session.state == OPEN

    leave = quick_reset

    def _roll_back(self, session: DbSession) -> None:
        """Do nothing on the server, which has no transactions."""
        session.transaction = False


# By whether statements may be executed again.
OWN_ACCOUNT, INDEPENDENT = (
    {"safe": kind(True), "never": kind(False)}
    for kind in (OwnAccount, Independent))
