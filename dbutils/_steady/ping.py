"""When and how a connection is asked whether it is still alive."""

from __future__ import annotations

from typing import Any, Callable

from .._base.checks import shown
from .._base.errors import log_swallowed, quietly

__all__ = ["PingError", "SqlPinger", "ask", "name_of", "prove"]

class PingError(ValueError):
    """The question of a ping fails on every connection."""


class SqlPinger:
    """Ask a connection by executing an SQL statement.

    Classic PyGreSQL has no cursors, its connections execute queries.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def __repr__(self) -> str:
        return f"<ping with {self.sql!r}>"

    def __call__(self, con: Any) -> None:
        if not hasattr(con, "cursor"):
            con.query(self.sql)
            return
        cursor = con.cursor()
        try:
            cursor.execute(self.sql)
            if getattr(cursor, "description", None):
                cursor.fetchall()  # some drivers do nothing else before that
        finally:
            with quietly("closing the cursor of a ping"):
                cursor.close()


def name_of(pinger: Callable[[Any], Any]) -> str:
    """Return how errors name a question; its text could be a password."""
    if isinstance(pinger, SqlPinger):
        return "an SQL statement"
    name = getattr(pinger, "__qualname__", None)
    return name if isinstance(name, str) else shown(pinger)


def ask(pinger: Callable[[Any], Any], con: Any) -> bool:
    """Tell whether the answer of a check function means alive."""
    try:
        alive = pinger(con)
    except Exception as error:  # noqa: BLE001 - any error means not alive
        log_swallowed(f"asking with {name_of(pinger)}", error)
        return False
    return alive is None or bool(alive)


def prove(pinger: Callable[[Any], Any], con: Any) -> None:
    """Raise a PingError if a question fails on a new connection."""
    try:
        alive = pinger(con)
    except Exception as error:
        raise PingError(
            f"The option 'ping' ({name_of(pinger)}) fails on a connection"
            f" that was just opened, with {type(error).__name__}.") from error
    if not (alive is None or alive):
        raise PingError(
            f"The option 'ping' ({name_of(pinger)}) takes a connection as"
            " dead that was just opened.")
