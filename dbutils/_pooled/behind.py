"""The use of connections behind a proxy that shares sessions."""

from __future__ import annotations

from .._base.errors import logger, quietly
from .._base.hints import Any
from .._drivers.poolers import (
    TRANSACTION_POOLER,
    answer,
    are_shared,
    connecting_with,
    pooled,
    warn_of_lasting,
)
from .._steady.deadlines import end_deadline, start_deadline

__all__ = ["adapt", "recognise", "warn"]

_TEXT = (
    "The server is behind a proxy that gives each transaction another session"
    " (such as PgBouncer in transaction mode). What belongs to a session does"
    " not work there: LISTEN, advisory locks, temporary tables, prepared"
    " statements, and SET without LOCAL."
    f" The option behind={TRANSACTION_POOLER!r} of the pool says that this is"
    " known. [DBU-25]")


def recognise(session: Any) -> str | None:
    """Return what the server of a session is behind.

    The other connection, of which this needs two, may have to wait for ever
    for a session of its own, so that it has a time limit.  It begins when the
    first one has a session, for which its user would wait as well.
    """
    driver, key = session.driver, object()
    question = driver.server_questions.get("session")
    if question is not None:
        answer(session.con, question)
        session.con.rollback()
    other = session.opener.open_another()
    start_deadline(key, driver.descriptor(other), None)
    try:
        is_shared = are_shared((session.con, other), question)
    finally:
        end_deadline(key)
        with quietly("closing a connection that was only asked"):
            driver.close(other)
    return TRANSACTION_POOLER if is_shared else None


def adapt(session: Any) -> None:
    """Do without what only works in a session of its own."""
    opener = session.opener
    if not opener.is_behind:  # found before one of several servers
        opener.is_pooled = True
    # the options first, so that an interrupt does not lose both
    before = opener.setsession
    rest, opener.kwargs = connecting_with(
        before, opener.kwargs, opener.creator, opener.dbapi)
    opener.setsession = rest
    if rest != before:
        _open_anew(session)
    session.driver = opener.driver = pooled(session.driver)
    opener.join_pooler(session.con)
    session.own_settings().start(session.driver, session.first_settings())


def _open_anew(session: Any) -> None:
    """Go on with a connection that has got the options when it was opened.

    The proxy does not keep what a statement has set for a session that had it
    already, since the server tells of changes only.  One of several servers is
    chosen anew for that, before the connection is used.
    """
    if session.route is not None:
        session.doubt()
        return
    con = session.con
    with quietly("connecting with options instead of statements"):
        session.store(session.opener.open())
        session.driver.close(con)


def warn(is_told: bool, setsession: Any) -> None:
    """Say what does not work; the program can tell that it knows."""
    if not is_told:
        logger.warning(_TEXT)
    warn_of_lasting(setsession)
