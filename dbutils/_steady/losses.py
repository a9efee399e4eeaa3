"""Whether an error means that the connection was lost.

The driver's status, the socket or the code of the error tells that.  Of a
driver that is not known, an error that says nothing is clarified by a question
on the same connection.
"""

from __future__ import annotations

from .._base.errors import add_note, quietly
from .._base.hints import Any
from .._drivers.creators import is_clear, is_unsupported
from .._drivers.standing import rows_of
from .liveness import still_answers
from .mistakes import explain_thread

__all__ = [
    "OUTCOME_UNKNOWN", "begins_anew", "is_lost", "note_end", "note_error"]

OUTCOME_UNKNOWN = (
    "DBUtils: the connection was lost in commit(),"
    " it is unknown whether the transaction was committed. [DBU-50]")

# The SQLSTATE of a statement in a transaction that has failed before.
_HAD_FAILED = "25P02"

# Words of errors that come when the time is up, without spaces.
_LATE = ("timeout", "timedout")


def is_lost(session: Any, error: Exception) -> bool:
    """Return whether an error means that the connection is lost.

    An open transaction goes on, as the question is part of it.
    """
    lost = _verdict(session, error)
    if lost is None:
        lost = not still_answers(session)
        text = str(error).lower().replace(" ", "").replace("-", "")
        if not lost and any(word in text for word in _LATE):
            session.suspect()  # its answer may still come
    return lost


def _verdict(session: Any, error: Exception) -> bool | None:
    """Return whether an error is a loss, None if it does not say."""
    options, driver = session.options, session.driver
    is_listed = isinstance(error, session.opener.failures)
    if options.isfatal is not None and is_listed:
        return bool(options.is_fatal(error))
    if options.failures is not None and not is_listed:
        return False
    lost: bool | None = driver.is_loss(error)
    if lost is None and session.is_gone():
        lost = True
    if lost is not None:
        return lost
    if not driver.asks:
        return is_listed and not driver.is_known
    if driver.is_known or is_clear(error):
        return False
    errors = getattr(session.opener.dbapi, "Error", Exception)
    return None if isinstance(error, (errors, OSError, EOFError)) else False


def note_error(
        session: Any, error: Exception, had_work: bool = True) -> None:
    """Note an error after which the connection stays.

    had_work: whether there was work before the statement that has failed
    """
    if session.driver.in_transaction(session.con) is not None:
        session.work = None
        if session.driver.is_aborted(session.con):
            session.note_abortion()
            if not had_work:
                session.work = False  # nothing was done
    if session.driver.is_read_only(error):
        session.suspect()
        if session.route is not None:
            session.route.note_refusal()
    explain_thread(error)
    session.distrust(error)


def begins_anew(session: Any, error: Exception) -> bool:
    """Begin another transaction if this one had failed before a statement.

    Return whether that was so, and the statement can be executed after all.
    It cannot be if it relies on what the transaction had read before.
    """
    driver, con = session.driver, session.con
    if driver.code(error) != _HAD_FAILED or not driver.is_aborted(con):
        return False
    with quietly("ending a transaction that has failed"):
        session.end("rollback")
        (level,), = rows_of(con, "show transaction_isolation")
        return bool(level == "read committed")
    return False


def note_end(session: Any, verb: str, error: Exception) -> None:
    """Note what the failure of a commit or rollback means.

    Nothing is asked: if the error does not say, the connection is lost.
    """
    if session.driver.asks and is_unsupported(error):
        return
    if _verdict(session, error) is False:
        note_error(session, error)
        return
    session.invalidate()
    if verb == "commit":
        add_note(error, OUTCOME_UNKNOWN)
