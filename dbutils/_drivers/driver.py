"""What is known about the drivers.

A profile answers questions about a driver connection without asking the
server.  Where a driver does not tell, or an attribute that is not public is
not there any more, the answer is None, which means unknown.  A profile is
chosen when a driver connection is opened, by the class of the latter.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from operator import attrgetter
from typing import Any

from .._base.errors import quietly

__all__ = [
    "COMPARED", "MARKS", "SPOILS", "Profile", "ask", "known_profile",
    "profile_in", "profile_of", "profiles", "register_profile"]

# SQLSTATEs and error numbers, by what they mean.
_PG_LOST = frozenset(("57P01", "57P02", "57P05", "25P03"))
_PG_UNKNOWN = 4  # the status of the transaction of a bad connection
_MY_LOST = frozenset((1053, 1927, 2002, 2006, 2013, 2055, 4031))
_PG_TRANSIENT = frozenset(("40001", "40P01"))
_MY_TRANSIENT = frozenset((1205, 1213))
_PG_READ_ONLY = frozenset(("25006",))
_MY_READ_ONLY = frozenset((1047, 1290, 1792, 1836))

# What a method changes, if it is not one setting that cannot be read: only
# settings that can be read, what only a new session can undo, or even only
# a new connection.
COMPARED = "compared"
MARKS = "marks"
SPOILS = "spoils"
_RESET_CONNECTION = 31  # the number of a command of MySQL


class Profile:
    """What is no driver, as far as we know."""

    # Whether all is known that the rules for failing over have to know.
    is_known = False
    # Whether the database is in the same process.
    is_embedded = False
    # Whether enough is known to follow the safe rules: the status of the
    # transaction, or that this is a driver, so that we keep account.
    is_telling = False
    # Whether we have to keep account of open work, and whether there are
    # transactions at all.
    needs_account = False
    has_transactions = True
    # Whether the server is asked what an error means that does not say, and
    # whether a connection may get another socket.
    asks = moves = False
    # The attributes of a connection that belong to its session, and those
    # of them that cannot be read without asking the server.
    settings: tuple[str, ...] = ()
    unreadable: frozenset[str] = frozenset()
    # Whether the settings cannot be restored one by one, since the driver
    # only knows what it was told itself.
    is_coarse = False
    # The methods that change the session: COMPARED, MARKS, SPOILS, or the
    # setting that cannot be read and gets the first argument as its value.
    setters: dict[str, str] = {}  # noqa: RUF012 - never changed
    # The methods whose effect others undo, by their names.
    pairs: dict[str, str] = {}  # noqa: RUF012 - never changed
    # The methods that change nothing, and those values through which a
    # program can do all that it can do with the connection.
    questions: frozenset[str] = frozenset()
    doors: frozenset[str] = frozenset()
    # Whether statements are executed by the connection itself, and which
    # parameters its execute() has that are those of its cursor().
    is_own_cursor = False
    cursor_options: frozenset[str] = frozenset()
    # Whether functions of the driver take nothing but its own connection.
    checks_types = False
    # How the server is asked whether it is there.
    question = "select 1"
    # The option with the seconds after which connecting is given up.
    connect_timeout: str | None = None

    # Whether SET TRANSACTION reaches transactions that begin later.
    sets_ahead = False

    lost_codes: frozenset[Any] = frozenset()
    transient_codes: frozenset[Any] = frozenset()
    read_only_codes: frozenset[Any] = frozenset()

    def in_transaction(self, con: Any) -> bool | None:  # noqa: ARG002 - unknown
        """Tell whether a transaction is open."""
        return None

    def has_written(self, con: Any) -> bool | None:  # noqa: ARG002 - unknown
        """Tell whether more than reading was done in an open transaction.

        Where a read begins a transaction, too, the driver cannot tell.
        """
        return None

    def autocommit(self, con: Any) -> bool | None:  # noqa: ARG002 - unknown
        """Tell whether each statement is committed at once."""
        return None

    @property
    def tells_work(self) -> bool:
        """Whether the driver tells that a transaction is open."""
        return type(self).in_transaction is not Profile.in_transaction

    def inside(self, con: Any) -> Any:
        """Return the driver connection that a wrapper has inside."""
        return con

    def warning(self) -> str | None:
        """Return what a program has to know that uses this driver."""
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

    @property
    def can_clean(self) -> bool:
        """Whether there is a way to give a connection a new session."""
        return type(self).clean is not Profile.clean

    def clean(
            self, con: Any,  # noqa: ARG002 - unknown
            start: Any = None) -> bool:  # noqa: ARG002 - unknown
        """Give the connection a new session; tell whether there is a way.

        start: the settings that it had at the beginning, if they are known
        """
        return False

    def restore(
            self, con: Any,  # noqa: ARG002 - unknown
            start: Any) -> bool:  # noqa: ARG002 - unknown
        """Undo what cannot be compared; tell whether there is a way."""
        return not self.unreadable

    def first(self, con: Any) -> dict[str, Any]:
        """Return the settings of a new connection, as far as known."""
        found = {}
        for name in self.settings:
            with suppress(Exception):  # older versions do not have all
                found[name] = self.read(con, name)
        return found

    def connected(self, con: Any) -> None:
        """Lift a limit that was meant for connecting only."""

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


ask = _ask  # for other modules


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
    connect_timeout = "connect_timeout"

    def autocommit(self, con: Any) -> bool | None:
        return _ask(con, "autocommit")

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

    def clean(
            self, con: Any,
            start: Any = None) -> bool:  # noqa: ARG002 - the server knows
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
    checks_types = True
    settings = (
        "autocommit", "isolation_level", "readonly", "deferrable",
        "cursor_factory", "encoding")
    setters = {  # noqa: RUF012 - never changed
        "set_session": COMPARED, "set_isolation_level": COMPARED,
        "set_client_encoding": COMPARED, "reset": MARKS}
    questions = frozenset((
        "fileno", "get_backend_pid", "get_dsn_parameters",
        "get_parameter_status", "get_transaction_status", "isexecuting",
        "xid"))

    def in_transaction(self, con: Any) -> bool | None:
        try:
            status = con.get_transaction_status()
        except Exception:  # noqa: BLE001 - whatever it is, it is no answer
            return None
        if status == 0:  # as nearly always
            return False
        is_closed = status == _PG_UNKNOWN and con.closed == 1  # by the program
        return None if is_closed else True

    def keeps_rows(self, cursor: Any) -> bool:
        return getattr(cursor, "name", "") is None  # the server has no names

    def code(self, error: BaseException) -> Any:
        return getattr(error, "pgcode", None)

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "encoding":
            con.set_client_encoding(value)
        else:
            setattr(con, name, value)


class _Psycopg(_PostgreSql):
    checks_types = True
    settings = (
        "autocommit", "isolation_level", "read_only", "deferrable",
        "row_factory", "cursor_factory", "server_cursor_factory",
        "prepare_threshold", "prepared_max")
    setters = {  # noqa: RUF012 - never changed
        "set_autocommit": COMPARED, "set_isolation_level": COMPARED,
        "set_read_only": COMPARED, "set_deferrable": COMPARED}
    pairs = {  # noqa: RUF012 - never changed
        "add_notice_handler": "remove_notice_handler",
        "add_notify_handler": "remove_notify_handler"}
    questions = frozenset(("fileno", "xid"))
    doors = frozenset(("pgconn",))
    cursor_options = frozenset(("binary",))

    def in_transaction(self, con: Any) -> bool | None:
        status = _ask(con, "pgconn.transaction_status")
        if status == 0:  # as nearly always
            return False
        is_closed = status == _PG_UNKNOWN and _ask(con, "_closed")
        return None if status is None or is_closed else True

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
    connect_timeout = "timeout"

    def connected(self, con: Any) -> None:
        con._usock.settimeout(None)  # noqa: SLF001 - there is no other way

    def in_transaction(self, con: Any) -> bool | None:
        return getattr(con, "_in_transaction", None)

    def is_closed(self, con: Any) -> bool | None:
        if getattr(con, "_sock", con) is None:
            return True
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

    def clean(
            self, con: Any,
            start: Any = None) -> bool:  # noqa: ARG002 - the server knows
        con.query("discard all")
        return True


class _MySql(_Known):
    """What the drivers for MySQL and MariaDB have in common."""

    lost_codes = _MY_LOST
    transient_codes = _MY_TRANSIENT
    read_only_codes = _MY_READ_ONLY
    unreadable = frozenset(("database",))
    questions = frozenset((
        "affected_rows", "character_set_name", "escape", "escape_string",
        "get_autocommit", "get_character_set_info", "get_host_info",
        "get_proto_info", "get_server_info", "get_server_version",
        "get_transaction_status", "insert_id", "is_connected", "literal",
        "string_literal", "thread_id"))
    sets_ahead = True

    def code(self, error: BaseException) -> Any:
        code = getattr(error, "errno", None)
        if code is None and error.args:
            code = error.args[0]
        return code if isinstance(code, int) and code > 0 else None


class _PyMySql(_MySql):
    # the other one does not cover the greeting of the server
    connect_timeout: str | None = "read_timeout"
    settings: tuple[str, ...] = (
        "autocommit", "cursorclass", "charset", "collation")
    setters = {  # noqa: RUF012 - never changed
        "autocommit": COMPARED, "select_db": "database",
        "set_charset": COMPARED, "set_character_set": COMPARED}

    def connected(self, con: Any) -> None:
        con._read_timeout = None  # noqa: SLF001 - there is no other way

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

    def first(self, con: Any) -> dict[str, Any]:
        return _with_database(super().first(con), con, "db")

    def keeps_rows(self, cursor: Any) -> bool:
        return not hasattr(cursor, "read_next")  # those of an SSCursor

    def read(self, con: Any, name: str) -> Any:
        return con.get_autocommit() if name == "autocommit" else getattr(
            con, name)

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "autocommit":
            con.autocommit(value)
        elif name == "database":
            con.select_db(value)
        elif name == "charset":
            con.set_character_set(value)
        elif name == "collation":
            con.set_character_set(con.charset, value)
        else:
            setattr(con, name, value)

    def clean(self, con: Any, start: Any = None) -> bool:
        con._execute_command(_RESET_CONNECTION, b"")  # noqa: SLF001 - of the driver
        con._read_ok_packet()  # noqa: SLF001 - of the driver
        start = start or {}
        self._begin_again(con, start)
        return self.restore(con, start)

    def _begin_again(self, con: Any, start: Any) -> None:
        """Do what the driver does at the beginning of a session."""
        if start.get("collation"):
            con.set_character_set(start["charset"], start["collation"])
        else:
            con.set_character_set(start.get("charset", con.charset))
        cursor = con.cursor()
        if con.sql_mode is not None:
            cursor.execute("set sql_mode = %s", (con.sql_mode,))
        if con.init_command is not None:
            cursor.execute(con.init_command)
        cursor.close()
        autocommit = start.get("autocommit", con.autocommit_mode)
        if con.get_autocommit() is not autocommit is not None:
            con.autocommit(autocommit)

    def restore(self, con: Any, start: Any) -> bool:
        database = start.get("database")
        if database:
            con.select_db(database)
            return True
        cursor = con.cursor()
        cursor.execute("select database()")
        row = cursor.fetchone()
        cursor.close()
        return row is not None and not any(
            row.values() if isinstance(row, dict) else row)


class _MySqlClient(_PyMySql):
    connect_timeout = "connect_timeout"
    settings = ("autocommit", "charset")
    setters = {  # noqa: RUF012 - never changed
        "autocommit": COMPARED, "select_db": "database",
        "set_character_set": COMPARED, "set_sql_mode": MARKS,
        "set_server_option": MARKS, "change_user": SPOILS}
    questions = _MySql.questions | {
        "errno", "error", "field_count", "fileno", "info", "stat",
        "warning_count"}
    clean = Profile.clean

    def read(self, con: Any, name: str) -> Any:
        if name == "charset":
            return con.character_set_name()
        return super().read(con, name)

    in_transaction = Profile.in_transaction

    def connected(self, con: Any) -> None:
        """Do nothing, since its limit is for connecting only."""

    def is_closed(self, con: Any) -> bool | None:
        return not getattr(con, "open", True)

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "fileno")

    def keeps_rows(self, cursor: Any) -> bool:
        return _has_base(cursor, "CursorStoreResultMixIn")


class _MySqlConnector(_MySql):
    connect_timeout = "connection_timeout"
    settings = ("autocommit", "sql_mode", "time_zone", "charset")
    unreadable = frozenset(("database", "user"))
    is_coarse = True
    setters = {  # noqa: RUF012 - never changed
        "cmd_init_db": "database", "set_charset_collation": COMPARED,
        "cmd_change_user": SPOILS, "cmd_reset_connection": MARKS,
        "reset_session": MARKS}
    # Reading a setting can ask the server; where the driver notes it instead.
    _notes = {  # noqa: RUF012 - never changed
        "autocommit": "_autocommit", "sql_mode": "_sql_mode",
        "time_zone": "_time_zone", "charset": "_charset_id"}

    def in_transaction(self, con: Any) -> bool | None:
        # It knows what the answers say that were read.
        is_to_come = getattr(con, "_have_next_result", False)
        return None if is_to_come else _ask(con, "in_transaction")

    def descriptor(self, con: Any) -> int | None:
        return _ask(con, "_socket.sock.fileno")

    def keeps_rows(self, cursor: Any) -> bool:
        return _has_base(cursor, "CMySQLCursorBuffered") or _has_base(
            cursor, "MySQLCursorBuffered")

    def is_loss(self, error: BaseException) -> bool | None:
        lost = super().is_loss(error)
        return lost if lost is not None else (
            "Connection not available" in str(error) or None)

    def first(self, con: Any) -> dict[str, Any]:
        found = _with_database(super().first(con), con, "_database")
        return {**found, "user": getattr(con, "_user", None)}

    def read(self, con: Any, name: str) -> Any:
        return getattr(con, self._notes.get(name, name))

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "charset":
            con.set_charset_collation(value)
        elif value is not None or name not in self._notes:
            setattr(con, name, value)

    def clean(self, con: Any, start: Any = None) -> bool:
        start = start or {}
        for name, note in self._notes.items():
            if name in start:  # the driver sets them again after a reset
                setattr(con, note, start[name])
        if con.cmd_reset_connection() is False:
            return False
        return self._use(con, start)

    def restore(self, con: Any, start: Any) -> bool:
        for name in self._notes:
            if name == "autocommit" or self.read(con, name) != start[name]:
                if start[name] is None:  # only the server knows it
                    return False
                self.write(con, name, start[name])
        return self._use(con, start)

    def _use(self, con: Any, start: Any) -> bool:
        """Use the database of the beginning again; tell whether that helps.

        It does not if the connection has another user now.
        """
        user, database = con.info_query("select user(), database()")
        if start.get("user") not in {None, user.rpartition("@")[0]}:
            return False
        if start.get("database") == database:
            return True
        if not start.get("database"):
            return False
        con.cmd_init_db(start["database"])
        return True


class _MariaDb(_MySql):
    connect_timeout = "connect_timeout"
    settings = ("autocommit",)
    setters = {  # noqa: RUF012 - never changed
        "select_db": "database", "change_user": SPOILS, "reset": MARKS}

    def in_transaction(self, con: Any) -> bool | None:
        status = getattr(con, "server_status", None)
        if not isinstance(status, int):
            return None
        # as with PyMySQL, the first flag may not be up to date
        return True if status & 1 else False if status & 2 else None

    def is_closed(self, con: Any) -> bool | None:
        return not getattr(con, "open", True)

    def descriptor(self, con: Any) -> int | None:
        number = getattr(con, "socket", None)  # there is none since 2.0
        return number if type(number) is int and number >= 0 else None

    def clean(self, con: Any, start: Any = None) -> bool:
        start = start or {}
        autocommit = start.get("autocommit", con.autocommit)
        con.reset()
        con.autocommit = not autocommit  # it does not know of the reset
        return self.restore(con, {**start, "autocommit": autocommit})

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "database":
            con.select_db(value)
        else:
            setattr(con, name, value)

    def restore(self, con: Any, start: Any) -> bool:
        con.autocommit = start["autocommit"]
        if start.get("database"):
            con.select_db(start["database"])
            return True
        return not _ask(con, "database")


class _Sqlite(_Known):
    is_embedded = True
    settings = (
        "isolation_level", "row_factory", "text_factory", "autocommit")
    setters = dict.fromkeys((
        "create_aggregate", "create_collation", "create_function",
        "create_window_function", "deserialize", "enable_load_extension",
        "load_extension",
        "set_authorizer", "set_progress_handler", "set_trace_callback",
        "setconfig", "setlimit"), MARKS)

    def in_transaction(self, con: Any) -> bool | None:
        return _in_transaction(con)

    def has_written(self, con: Any) -> bool | None:
        # without autocommit a transaction is always open
        is_always = getattr(con, "autocommit", None) is False
        return None if is_always else _in_transaction(con)

    def is_closed(self, con: Any) -> bool | None:
        try:
            con.total_changes  # noqa: B018 - it raises an error when closed
        except Exception as error:  # noqa: BLE001 - of this module, or a fake
            return "closed" in str(error)
        return False

    def is_private(self, con: Any) -> bool:
        return _is_without_file(con, "pragma database_list", 2)


class _CxOracle(_Known):
    settings = (
        "autocommit", "call_timeout", "inputtypehandler",
        "outputtypehandler")
    unreadable = frozenset((
        "action", "client_identifier", "clientinfo", "current_schema",
        "dbop", "econtext_id", "module"))
    question = "select 1 from dual"
    lost_codes = frozenset((
        28, 45, 1012, 1033, 1034, 1089, 2396, 3113, 3114, 3135, 12153, 12514,
        12528, 12537, 12541, 12547, 12570, 12571, 12583, 27146, 28511))
    transient_codes = frozenset((60, 8177))
    read_only_codes = frozenset((16000, 16456))

    def in_transaction(self, con: Any) -> bool | None:
        return _ask(con, "transaction_in_progress")

    def has_written(self, con: Any) -> bool | None:
        return self.in_transaction(con)

    def is_closed(self, con: Any) -> bool | None:
        healthy = _ask(con, "is_healthy")  # that is not asked of the server
        return None if healthy is None else not healthy

    def code(self, error: BaseException) -> Any:
        return getattr(error.args[0] if error.args else None, "code", None)

    def is_loss(self, error: BaseException) -> bool | None:
        details = error.args[0] if error.args else None
        text = str(getattr(details, "full_code", ""))
        if text.startswith(("DPY-4011", "DPY-1001", "DPI-1010", "DPI-1080")):
            return True
        return super().is_loss(error)


class _OracleDb(_CxOracle):
    connect_timeout = "tcp_connect_timeout"


class _SqlServer(_Known):
    """What the drivers for SQL Server have in common."""

    transient_codes = frozenset((1205, "40001"))
    read_only_codes = frozenset((3906,))
    sets_ahead = True


class _Pyodbc(_SqlServer):
    connect_timeout = "timeout"
    settings = ("autocommit", "timeout")
    setters = dict.fromkeys((
        "add_output_converter", "clear_output_converters",
        "remove_output_converter", "set_attr", "setdecoding", "setencoding",
        ), MARKS)

    def is_closed(self, con: Any) -> bool | None:
        return _ask(con, "closed")

    def code(self, error: BaseException) -> Any:
        code = error.args[0] if error.args else None
        return code if isinstance(code, str) else None

    def is_loss(self, error: BaseException) -> bool | None:
        code = self.code(error)
        return None if code is None else code.startswith("08")


class _Pymssql(_SqlServer):
    connect_timeout = "login_timeout"
    settings = ("autocommit",)
    setters = {"autocommit": COMPARED}  # noqa: RUF012 - never changed
    lost_codes = frozenset((20003, 20004, 20006, 20047))
    tells_work = False

    def in_transaction(self, con: Any) -> bool | None:
        return False if _ask(con, "autocommit_state") is True else None

    def is_closed(self, con: Any) -> bool | None:
        connected = _ask(con, "_conn.connected")
        return None if connected is None else not connected

    # Its cursors read rows and facts from the connection when asked.
    def keeps_values(self, cursor: Any) -> bool:  # noqa: ARG002 - none does
        return False

    def code(self, error: BaseException) -> Any:
        code = error.args[0] if error.args else None
        if isinstance(code, tuple) and code:  # with its text
            code = code[0]
        return code if isinstance(code, int) else None

    def read(self, con: Any, name: str) -> Any:
        return con.autocommit_state if name == "autocommit" else getattr(
            con, name)

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "autocommit":
            con.autocommit(value)
        else:
            setattr(con, name, value)


class _DuckDb(_Known):
    is_embedded = is_own_cursor = True

    def is_private(self, con: Any) -> bool:
        return _is_without_file(
            con, "select path from duckdb_databases() where not internal", 0)


def _with_database(
        found: dict[str, Any], con: Any, name: str) -> dict[str, Any]:
    """Return settings with the database that a driver was told to use."""
    database = getattr(con, name, None)
    return {**found, "database": database} if database else found


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

# The profiles by the names of modules, or of packages that they are in, in
# which the class of a connection was made.
_PROFILES: dict[str, Profile] = {
    "psycopg2": _Psycopg2(), "psycopg": _Psycopg(), "pgdb": _Pgdb(),
    "pg": _ClassicPg(),
    "pg8000": _Pg8000(), "pymysql": _PyMySql(), "MySQLdb": _MySqlClient(),
    "mysql": _MySqlConnector(), "mariadb": _MariaDb(), "sqlite3": _Sqlite(),
    "oracledb": _OracleDb(), "cx_Oracle": _CxOracle(), "pyodbc": _Pyodbc(),
    "pymssql": _Pymssql(), "duckdb": _DuckDb(), "_duckdb": _DuckDb(),
}


def profile_of(con: Any, dbapi: Any = None) -> Profile:
    """Return the profile for a driver connection.

    dbapi: the module that it comes from, as far as that is known

    Its class can be derived from the one of the driver, and the connection
    can be wrapped.  What else there is to know about drivers is only loaded
    if it is none of the most usual ones.
    """
    profile = known_profile(con)
    if profile is None:
        more = import_module(".more", __package__)
        profile = more.profile_of_other(con, dbapi)
    return profile or (
        _TELLING if isinstance(_ask(con, "in_transaction"), bool)
        else _UNKNOWN)


def known_profile(con: Any) -> Profile | None:
    """Return the profile for a class of connections that is known by name."""
    for kind in (type(con), getattr(con, "__class__", object)):
        for base in _bases(kind):
            profile = _profile_named(str(getattr(base, "__module__", "")))
            if profile is not None:
                return profile
    return None


def _profile_named(name: str) -> Profile | None:
    """Return the profile for a module, or for a package that it is in."""
    while name:
        if name in _PROFILES:
            return _PROFILES[name]
        name = name.rpartition(".")[0]
    return None


def profile_in(module: Any) -> Profile:
    """Return the profile for a driver module, which may also be None."""
    name = str(getattr(module, "__name__", ""))
    return _profile_named(name) or _UNKNOWN


def _bases(kind: Any) -> Any:
    with suppress(Exception):
        return kind.__mro__
    return ()


def register_profile(name: str, profile: Profile) -> None:
    """Know a driver by the name of its module from now on."""
    _PROFILES[name] = profile


def profiles() -> dict[str, Profile]:
    """Return the profiles that are known by now, by names of modules."""
    return dict(_PROFILES)
