"""Which drivers there are for a kind of database, and how they speak."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .arguments import Dialect
from .mysql import MYSQL
from .others import ORACLE, SQLITE, SQLSERVER
from .postgresql import POSTGRESQL

__all__ = ["dialect_for"]

# The dialects of each kind of database.
_DIALECTS: dict[str, tuple[Dialect, ...]] = {
    "postgresql": POSTGRESQL, "mysql": MYSQL, "sqlite": SQLITE,
    "oracle": ORACLE, "sqlserver": SQLSERVER}
# Other names by which drivers are known, mostly those of their packages.
_ALIASES = {
    "psycopg2-binary": "psycopg2", "psycopg3": "psycopg",
    "pg8000": "pg8000.dbapi", "pygresql": "pgdb", "mysqlclient": "mysqldb",
    "sqlite3.dbapi2": "sqlite3",
    "mysql-connector": "mysql.connector",
    "mysql-connector-python": "mysql.connector",
    "mysqlconnector": "mysql.connector"}


def dialect_for(kind: str, name: str | None) -> tuple[Dialect, Any]:
    """Return the dialect for a kind of database, and the driver.

    name: the driver; if there is none, the first one that is installed
    """
    dialects = _DIALECTS[kind]
    if name is not None:
        wanted = _ALIASES.get(name.lower(), name.lower())
        dialects = tuple(
            dialect for dialect in dialects
            if dialect.module.lower() == wanted)
    known = ", ".join(dialect.module for dialect in _DIALECTS[kind])
    if not dialects:
        raise ValueError(
            f"{name!r} is no driver for {kind} that is known; known are:"
            f" {known}.")
    problem: ImportError | None = None
    for dialect in dialects:
        try:
            return dialect, import_module(dialect.module)
        except ImportError as error:
            problem = problem or error
    raise ImportError(
        f"{name} is not installed." if name is not None else
        f"No driver for {kind} is installed; known are: {known}.",
    ) from problem
