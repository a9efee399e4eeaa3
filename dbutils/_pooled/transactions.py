"""Whole transactions, which are repeated when they fail.

A transaction is repeated as a whole if the error says that this helps, or
if the connection was lost before commit() was called.  After that call the
transaction may have been committed, and is never repeated.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from os import urandom

from .._base.errors import quietly
from .._base.hints import Any, Callable, Iterator, NamedTuple
from .._steady.steady import session_of

__all__ = ["run", "transaction"]

_FIRST_PAUSE = 0.02  # seconds
_LONGEST_PAUSE = 2.0


class _Done(NamedTuple):
    """The end of a transaction that was committed."""

    result: Any


@contextmanager
def transaction(borrow: Callable[[], Any]) -> Iterator[Any]:
    """Borrow a connection for a context that is a transaction."""
    with borrow() as db:
        db.begin()
        try:
            yield db
        except BaseException:
            with quietly("rolling back"):
                db.rollback()
            raise
        db.commit()


def run(
        function: Callable[[Any], Any], borrow: Callable[[], Any],
        retries: int, commit_unknown_error: type[Exception]) -> Any:
    """Return the result of a function, called in a transaction."""
    for attempt in range(retries):
        done = _attempt(function, borrow, commit_unknown_error, is_last=False)
        if done is not None:
            return done.result
        pause = min(_FIRST_PAUSE * 2 ** attempt, _LONGEST_PAUSE)
        time.sleep(pause * (1 + urandom(1)[0] / 256) / 2)
    done = _attempt(function, borrow, commit_unknown_error, is_last=True)
    return done.result  # type: ignore[union-attr] # or it has raised


def _attempt(
        function: Callable[[Any], Any], borrow: Callable[[], Any],
        commit_unknown_error: type[Exception], is_last: bool) -> _Done | None:
    """Run a transaction; return None if it is worth another try."""
    session = None
    commits = False
    try:
        with borrow() as db:
            session = session_of(db)
            db.begin()
            is_last = is_last or _commits_alone(session)
            result = function(db)
            commits = True
            db.commit()
    except Exception as error:
        lost = _was_lost(session, error)
        if commits and lost:
            raise commit_unknown_error(
                "The connection was lost in commit(): it is unknown"
                " whether the transaction was committed. [DBU-50]") from error
        if is_last or not (lost or _is_transient(session, error) or (
                not commits and _is_turned(session, error))):
            raise
        return None
    return _Done(result)


def _commits_alone(session: Any) -> bool:
    """Return whether each statement is committed, so none may run again.

    Even then, the begin() of a driver begins a transaction.
    """
    return bool(session.driver.autocommit(session.con)) and not hasattr(
        session.con, "begin")


def _was_lost(session: Any, error: Exception) -> bool:
    """Return whether the connection was lost, or could not be opened."""
    if session is None:
        return isinstance(error, ConnectionError) or (
            type(error).__name__ in {"OperationalError", "InterfaceError"})
    was_lost: bool = session.failover.was_lost(session, error)
    return was_lost


def _is_transient(session: Any, error: Exception) -> bool:
    return session is not None and session.driver.is_transient(error)


def _is_turned(session: Any, error: Exception) -> bool:
    """Return whether another server may take what this one has refused.

    A transaction that wants a server to read from must not write.
    """
    return session is not None and session.route is not None and bool(
        session.route.aim.is_for_writing
        and session.driver.is_read_only(error))
