"""What is known about the drivers.

A profile answers questions about a driver connection without asking the
server.  Where a driver does not tell, or an attribute that is not public is
not there any more, the answer is None, which means unknown.  A profile is
chosen when a driver connection is opened, by the class of the latter.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from typing import Any

from ._errors import quietly

__all__ = ["Profile", "profile_of"]

# SQLSTATEs and error numbers, by what they mean.
_PG_LOST = frozenset(("57P01", "57P02", "57P05", "25P03"))
_MY_LOST = frozenset((1053, 1927, 2002, 2006, 2013, 2055, 4031))
_PG_TRANSIENT = frozenset(("40001", "40P01"))
_MY_TRANSIENT = frozenset((1205, 1213))
_PG_READ_ONLY = frozenset(("25006",))
_MY_READ_ONLY = frozenset((1047, 1290, 1792, 1836))


class Profile:
    """A driver that we know nothing about."""

    # Whether all is known that the rules for failing over have to know.
    is_known = False
    # Whether the database is in the same process.
    is_embedded = False
    # Whether at least the status of the transaction is known.
    is_telling = False
    # The attributes of a connection that belong to its session.
    settings: tuple[str, ...] = ()
    # How the server is asked whether it is there.
    question = "select 1"

    lost_codes: frozenset[Any] = frozenset()
    transient_codes: frozenset[Any] = frozenset()
    read_only_codes: frozenset[Any] = frozenset()

    def in_transaction(self, con: Any) -> bool | None:  # noqa: ARG002 - unknown
        """Tell whether a transaction is open."""
        return None

    @property
    def tells_closed(self) -> bool:
        """Whether the driver tells that a connection is closed."""
        return type(self).is_closed is not Profile.is_closed

    def is_closed(self, con: Any) -> bool | None:  # noqa: ARG002 - unknown
        """Tell whether the driver itself takes the connection as closed."""
        return None

    def descriptor(self, con: Any) -> int | None:  # noqa: ARG002 - unknown
        """Return the descriptor of the socket."""
        return None

    def code(self, error: BaseException) -> Any:  # noqa: ARG002 - unknown
        """Return the SQLSTATE or the number of an error."""
        return None

    def is_loss(self, error: BaseException) -> bool | None:
        """Tell whether an error says that the connection is lost."""
        code = self.code(error)
        return None if code is None else code in self.lost_codes

    def is_transient(self, error: BaseException) -> bool:
        """Tell whether the transaction may succeed when it is repeated."""
        return self.code(error) in self.transient_codes

    def is_read_only(self, error: BaseException) -> bool:
        """Tell whether an error says that the server takes no writes."""
        return self.code(error) in self.read_only_codes

    def is_private(self, con: Any) -> bool:  # noqa: ARG002 - unknown
        """Tell whether the data live and die with the connection."""
        return False

    def keeps_rows(self, cursor: Any) -> bool:  # noqa: ARG002 - unknown
        """Return whether the rows of a driver cursor are in the client."""
        return False

    def keeps_values(self, cursor: Any) -> bool:
        """Return whether the facts about its statement are in the client."""
        return self.is_known and getattr(cursor, "description", ()) is None

    def close(self, con: Any) -> None:
        """Close the connection."""
        con.close()

    def clean(self, con: Any) -> bool:  # noqa: ARG002 - unknown
        """Give the connection a new session; tell whether there is a way."""
        return False

    def read(self, con: Any, name: str) -> Any:
        """Return the value of a setting."""
        return getattr(con, name)

    def write(self, con: Any, name: str, value: Any) -> None:
        """Change a setting."""
        setattr(con, name, value)


class _Telling(Profile):
    """A driver that we do not know, but that tells about transactions."""

    is_telling = True

    def in_transaction(self, con: Any) -> bool | None:
        return _in_transaction(con)


class _Known(Profile):
    is_known = is_telling = True


def _has_base(thing: Any, name: str) -> bool:
    """Return whether the class of a thing has a base of that name."""
    return any(base.__name__ == name for base in type(thing).__mro__)


_getter = lru_cache(maxsize=None)(attrgetter)


def _ask(con: Any, path: str) -> Any:
    """Return what an attribute or method of an attribute says, or None."""
    try:
        answer = _getter(path)(con)
        return answer() if callable(answer) else answer
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return None


def _in_transaction(con: Any) -> bool | None:
    """Return what _ask() does, but faster, since this is done so often."""
    try:
        return con.in_transaction
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return None


class _PostgreSql(_Known):
    """What the drivers for PostgreSQL have in common."""

    lost_codes = _PG_LOST
    transient_codes = _PG_TRANSIENT
    read_only_codes = _PG_READ_ONLY
    settings: tuple[str, ...] = ("autocommit",)

    def is_closed(self, con: Any) -> bool | None:
        closed = getattr(con, "closed", None)
        return None if closed is None else bool(closed)

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "fileno")

    def code(self, error: BaseException) -> Any:
        return getattr(error, "sqlstate", None)

    def is_loss(self, error: BaseException) -> bool | None:
        code = self.code(error)
        if code is None:
            return None
        return code in self.lost_codes or str(code).startswith("08")

    def clean(self, con: Any) -> bool:
        before = con.autocommit
        con.rollback()
        con.autocommit = True
        cursor = con.cursor()
        try:
            cursor.execute("discard all")
        finally:
            cursor.close()
            con.autocommit = before
        return True


class _Psycopg2(_PostgreSql):
    settings = (
        "autocommit", "isolation_level", "readonly", "deferrable",
        "cursor_factory")

    def in_transaction(self, con: Any) -> bool | None:
        try:
            status = con.get_transaction_status()
        except Exception:  # noqa: BLE001 - whatever it is, it is no answer
            return None
        return status != 0

    def keeps_rows(self, cursor: Any) -> bool:
        return getattr(cursor, "name", "") is None  # the server has no names

    def code(self, error: BaseException) -> Any:
        return getattr(error, "pgcode", None)


class _Psycopg(_PostgreSql):
    settings = (
        "autocommit", "isolation_level", "read_only", "deferrable",
        "row_factory", "cursor_factory", "server_cursor_factory",
        "prepare_threshold")

    def in_transaction(self, con: Any) -> bool | None:
        status = _ask(con, "pgconn.transaction_status")
        return None if status is None else status != 0

    def keeps_rows(self, cursor: Any) -> bool:
        # server-side cursors have names; a pipeline may owe the result
        return not hasattr(cursor, "name") and cursor.pgresult is not None


class _Pgdb(_PostgreSql):
    def in_transaction(self, con: Any) -> bool | None:
        status = _ask(con, "_cnx.transaction")
        return None if status is None else status != 0

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "_cnx.fileno")

    def keeps_rows(self, cursor: Any) -> bool:  # noqa: ARG002 - all do
        return True


class _Pg8000(_PostgreSql):
    def in_transaction(self, con: Any) -> bool | None:
        return getattr(con, "_in_transaction", None)

    def is_closed(self, con: Any) -> bool | None:
        descriptor = self.descriptor(con)
        return None if descriptor is None else descriptor < 0

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "_usock.fileno")

    def keeps_rows(self, cursor: Any) -> bool:  # noqa: ARG002 - all do
        return True

    def code(self, error: BaseException) -> Any:
        details = error.args[0] if error.args else None
        return details.get("C") if isinstance(details, dict) else None

    def is_loss(self, error: BaseException) -> bool | None:
        lost = super().is_loss(error)
        return lost if lost is not None else (
            str(error) in {"network error", "connection is closed"} or None)


    def close(self, con: Any) -> None:
        stream = getattr(con, "_sock", None)
        try:
            con.close()
        finally:  # of a lost connection this is left open, and cannot be sent
            if stream is not None:
                with quietly("closing the stream of a lost connection"):
                    stream.close()


class _ClassicPg(_PostgreSql):
    """The class DB of classic PyGreSQL."""

    settings = ()

    def in_transaction(self, con: Any) -> bool | None:
        status = _ask(con, "db.transaction")
        return None if status is None else status != 0

    def is_closed(self, con: Any) -> bool | None:
        return not getattr(getattr(con, "db", None), "status", False)

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "db.fileno")

    def clean(self, con: Any) -> bool:
        con.query("discard all")
        return True


class _MySql(_Known):
    """What the drivers for MySQL and MariaDB have in common."""

    lost_codes = _MY_LOST
    transient_codes = _MY_TRANSIENT
    read_only_codes = _MY_READ_ONLY

    def code(self, error: BaseException) -> Any:
        code = getattr(error, "errno", None)
        if code is None and error.args:
            code = error.args[0]
        return code if isinstance(code, int) and code > 0 else None


class _PyMySql(_MySql):
    settings: tuple[str, ...] = ("autocommit", "cursorclass")

    def in_transaction(self, con: Any) -> bool | None:
        # The flag is not up to date after a query, so that it can be false
        # although a transaction is open, unless in autocommit mode.
        if con.server_status & 1:
            return True
        return False if con.get_autocommit() else None

    def is_closed(self, con: Any) -> bool | None:
        return not con.open

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "_sock.fileno")

    def keeps_rows(self, cursor: Any) -> bool:
        return not hasattr(cursor, "read_next")  # those of an SSCursor

    def read(self, con: Any, name: str) -> Any:
        return con.get_autocommit() if name == "autocommit" else getattr(
            con, name)

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "autocommit":
            con.autocommit(value)
        else:
            setattr(con, name, value)


class _MySqlClient(_PyMySql):
    settings = ("autocommit",)

    def in_transaction(self, con: Any) -> bool | None:  # noqa: ARG002 - unknown
        return None

    def is_closed(self, con: Any) -> bool | None:
        return not getattr(con, "open", True)

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "fileno")

    def keeps_rows(self, cursor: Any) -> bool:
        return _has_base(cursor, "CursorStoreResultMixIn")


class _MySqlConnector(_MySql):
    settings = ()  # reading them would ask the server

    def in_transaction(self, con: Any) -> bool | None:
        return _ask(con, "in_transaction")

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "_socket.sock.fileno")

    def keeps_rows(self, cursor: Any) -> bool:
        return _has_base(cursor, "CMySQLCursorBuffered") or _has_base(
            cursor, "MySQLCursorBuffered")

    def is_loss(self, error: BaseException) -> bool | None:
        lost = super().is_loss(error)
        return lost if lost is not None else (
            "Connection not available" in str(error) or None)

    def clean(self, con: Any) -> bool:
        autocommit = con.autocommit
        con.cmd_reset_connection()
        con.autocommit = autocommit
        return True


class _MariaDb(_MySql):
    settings = ("autocommit",)

    def clean(self, con: Any) -> bool:
        autocommit = con.autocommit
        con.reset()
        con.autocommit = autocommit
        return True


class _Sqlite(_Known):
    is_embedded = True
    settings = ("isolation_level", "row_factory", "text_factory")

    def in_transaction(self, con: Any) -> bool | None:
        return _in_transaction(con)

    def is_closed(self, con: Any) -> bool | None:
        try:
            con.total_changes  # noqa: B018 - it raises an error when closed
        except Exception as error:  # noqa: BLE001 - of this module, or a fake
            return "closed" in str(error)
        return False

    def is_private(self, con: Any) -> bool:
        return _is_without_file(con, "pragma database_list", 2)


class _OracleDb(_Known):
    settings = ("autocommit",)
    question = "select 1 from dual"
    lost_codes = frozenset((
        28, 45, 1012, 1033, 1034, 1089, 2396, 3113, 3114, 3135, 12153, 12514,
        12528, 12537, 12541, 12547, 12570, 12571, 12583, 27146, 28511))
    transient_codes = frozenset((60, 8177))
    read_only_codes = frozenset((16000, 16456))

    def in_transaction(self, con: Any) -> bool | None:
        return _ask(con, "transaction_in_progress")

    def code(self, error: BaseException) -> Any:
        return getattr(error.args[0] if error.args else None, "code", None)

    def is_loss(self, error: BaseException) -> bool | None:
        details = error.args[0] if error.args else None
        text = str(getattr(details, "full_code", ""))
        if text.startswith(("DPY-4011", "DPY-1001", "DPI-1010", "DPI-1080")):
            return True
        return super().is_loss(error)


class _SqlServer(_Known):
    """What the drivers for SQL Server have in common."""

    transient_codes = frozenset((1205, "40001"))
    read_only_codes = frozenset((3906,))


class _Pyodbc(_SqlServer):
    settings = ("autocommit", "timeout")

    def is_closed(self, con: Any) -> bool | None:
        return _ask(con, "closed")

    def code(self, error: BaseException) -> Any:
        code = error.args[0] if error.args else None
        return code if isinstance(code, str) else None

    def is_loss(self, error: BaseException) -> bool | None:
        code = self.code(error)
        return None if code is None else code.startswith("08")


class _Pymssql(_SqlServer):
    lost_codes = frozenset((20003, 20004, 20006, 20047))

    # Its cursors read rows and facts from the connection when asked.
    def keeps_values(self, cursor: Any) -> bool:  # noqa: ARG002 - none does
        return False

    def code(self, error: BaseException) -> Any:
        code = error.args[0] if error.args else None
        return code if isinstance(code, int) else None


class _DuckDb(_Known):
    is_embedded = True

    def is_private(self, con: Any) -> bool:
        return _is_without_file(
            con, "select path from duckdb_databases() where not internal", 0)


def _is_without_file(con: Any, sql: str, column: int) -> bool:
    """Tell whether an embedded database is in memory only."""
    row = None
    with quietly("asking for the file of a database"):
        cursor = con.cursor()
        cursor.execute(sql)
        row = cursor.fetchone()
        cursor.close()
    return row is not None and not row[column]


_UNKNOWN = Profile()
_TELLING = _Telling()

# The profiles by the first part of the name of the module in which the class
# of a connection was made.
_PROFILES = {
    "psycopg2": _Psycopg2(), "psycopg": _Psycopg(), "pgdb": _Pgdb(),
    "pg": _ClassicPg(),
    "pg8000": _Pg8000(), "pymysql": _PyMySql(), "MySQLdb": _MySqlClient(),
    "mysql": _MySqlConnector(), "mariadb": _MariaDb(), "sqlite3": _Sqlite(),
    "oracledb": _OracleDb(), "cx_Oracle": _OracleDb(), "pyodbc": _Pyodbc(),
    "pymssql": _Pymssql(), "duckdb": _DuckDb(), "_duckdb": _DuckDb(),
}


def profile_of(con: Any) -> Profile:
    """Return the profile for a driver connection.

    Its class can be derived from the one of the driver, and the connection
    can be wrapped, as long as the wrapper shows the class of what is inside.
    """
    for kind in (type(con), getattr(con, "__class__", object)):
        for base in _bases(kind):
            module = str(getattr(base, "__module__", ""))
            profile = _PROFILES.get(module.partition(".")[0])
            if profile is not None:
                return profile
    tells = isinstance(_ask(con, "in_transaction"), bool)
    return _TELLING if tells else _UNKNOWN


def _bases(kind: Any) -> Any:
    with suppress(Exception):
        return kind.__mro__
    return ()
