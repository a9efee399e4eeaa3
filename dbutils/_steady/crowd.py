"""Whether a server has hardly room for connections of others."""

from __future__ import annotations

from .._base.errors import quietly
from .._base.hints import Any
from .._drivers.standing import rows_of
from .deadlines import end_deadline, start_deadline

__all__ = ["is_crowded"]

# How full a server is that counts as full, in tenths: what others have left
# for a moment is not there at each question.
_FULL = 9


def is_crowded(session: Any) -> bool | None:
    """Ask the server of a clean session whether it is nearly full.

    It is not asked within a transaction.  Return None if the question has
    failed, and the session may be lost.
    """
    if session.driver.in_transaction(session.con) is not False:
        return False
    start_deadline(session, session.descriptor, session.limit)
    try:
        with quietly("asking a server how many connections it has"):
            limit, reserved, in_use = (
                _answer(session, name)
                for name in ("limit", "reserved", "in_use"))
            session.end_question()
            return in_use * 10 >= _FULL * (limit - reserved)
    finally:
        end_deadline(session)
    return None


def _answer(session: Any, name: str) -> int:
    """Return a number that the server tells, 0 if it has no such thing."""
    question, con = session.driver.server_questions.get(name), session.con
    if question is None:
        return 0
    rows = rows_of(con, question) if hasattr(con, "cursor") else (
        con.query(question).getresult())
    return int(rows[0][-1])
