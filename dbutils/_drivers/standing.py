"""The roles of servers that belong together."""

from __future__ import annotations

from .._base.hints import Any, NamedTuple

__all__ = [
    "OFFLINE", "PRIMARY", "READ_ONLY", "ROLES", "STANDBY", "UNKNOWN",
    "Standing", "records_of", "rows_of"]

# A primary takes writes, unless it is read-only; a standby follows it.
PRIMARY, READ_ONLY, STANDBY = "primary", "read-only", "standby"
OFFLINE, UNKNOWN = "offline", "unknown"
ROLES = (PRIMARY, READ_ONLY, STANDBY, OFFLINE, UNKNOWN)


class Standing(NamedTuple):
    """The role of a server, and how far it has come.

    position: a number that grows with what was written or replayed
    lag: by how many seconds a standby is behind, if the server says that
    """

    role: str
    position: int | None = None
    lag: float | None = None


def rows_of(con: Any, text: str, *parameters: Any) -> list[Any]:
    """Return the rows that a server answers to a question, as sequences."""
    return _answer_of(con, text, *parameters)[1]


def records_of(con: Any, text: str) -> list[dict[str, Any]]:
    """Return the rows of an answer as dictionaries, by names in lower case."""
    columns, rows = _answer_of(con, text)
    names = [column[0].lower() for column in columns]
    return [dict(zip(names, row)) for row in rows]


def _answer_of(
        con: Any, text: str, *parameters: Any) -> tuple[Any, list[Any]]:
    """Return the columns and the rows of an answer."""
    cursor = con.cursor()
    try:
        if parameters:
            cursor.execute(text, parameters)
        else:
            cursor.execute(text)
        return cursor.description, [
            tuple(row.values()) if isinstance(row, dict) else row
            for row in cursor.fetchall()]
    finally:
        cursor.close()
