"""Drivers for MySQL and MariaDB."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .._base.checks import whole
from .._base.errors import log_swallowed
from .._base.hints import Any, Kwargs
from .arguments import ConnectArguments, accept_utf8, tls_context
from .creators import has_base
from .driver import COMPARED, MARKS, SPOILS, ExactDriver, ask
from .standing import (
    OFFLINE,
    PRIMARY,
    STANDBY,
    Standing,
    records_of,
    rows_of,
)

__all__ = ["DRIVERS"]

_RESET_CONNECTION = 31  # the number of a command of MySQL
# Whether a server takes writes, and the state of a node of Galera: it is of
# use while it is synchronized (4), or helps another one (2).
_VARIABLES = (
    "show global variables where variable_name in ('read_only', 'wsrep_on')")
_STATUS = (
    "show global status where variable_name in"
    " ('wsrep_ready', 'wsrep_local_state')")
_SYNCED = {"2", "4"}
# How to ask a replica for its state, and the number of the error of a server
# that does not understand that.
_REPLICATION = ("show replica status", "show slave status")
_SYNTAX = 1064
# The names of its lag, and of whether it reads what it follows and replays it.
_SAID = (
    ("seconds_behind_master", "seconds_behind_source"),
    ("slave_io_running", "replica_io_running"),
    ("slave_sql_running", "replica_sql_running"))
# The role of the session, where there are roles: MariaDB keeps it in a reset.
_ROLE = (
    "select null /*!80000 , current_role() */"
    " /*M!100005 , current_role() */")
# The beginning of a position of MariaDB, with a domain, a server and a number.
_IN_DOMAIN = re.compile(r"\d+-\d+-\d+")


class _MySql(ExactDriver):
    """The base of the drivers for MySQL and MariaDB."""

    lost_codes = frozenset((1053, 1927, 2002, 2006, 2013, 2055, 4031))
    transient_codes = frozenset((1205, 1213))
    read_only_codes = frozenset((1047, 1290, 1792, 1836))
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

    parameter_names: Mapping[str, str] = {
        "port": "port", "database": "database", "user": "user",
        "autocommit": "autocommit"}
    server_questions: Mapping[str, str] = {
        "version": "select version()",
        "limit": "select @@max_connections",
        "own_limit": "select @@max_user_connections",
        "in_use": "show status like 'Threads_connected'",
        "idle_timeout": "select @@wait_timeout",
        "isolation": "select @@transaction_isolation",
        "old_isolation": "select @@tx_isolation",
        "read_only": "select @@global.read_only",
        "encrypted": "show session status like 'Ssl_cipher'",
        "port": "select @@port",
        # by default as many as processors, in MariaDB
        "processors": (
            "select @@thread_pool_size from dual"
            " where version() like '%MariaDB%'"),
        "session": "select connection_id()"}

    def standing(self, con: Any) -> Standing | None:
        known = _values(rows_of(con, _VARIABLES))
        if known.get("wsrep_on") == "ON":
            known.update(_values(rows_of(con, _STATUS)))
            if known.get("wsrep_ready") != "ON" or (
                    known.get("wsrep_local_state") not in _SYNCED):
                return Standing(OFFLINE)
        if known.get("read_only", "OFF") in {"OFF", "0"}:
            return Standing(PRIMARY)
        return Standing(STANDBY, lag=self._lag(con))

    def _lag(self, con: Any) -> float | None:
        """Return by how many seconds a replica is behind, None if unknown.

        Old servers have other words for that, and not every user may ask.
        """
        for question in _REPLICATION:
            try:
                return _largest_lag(records_of(con, question))
            except Exception as error:
                if self.is_loss(error):
                    raise
                log_swallowed("asking a replica how far it is behind", error)
                if self.code(error) != _SYNTAX:
                    return None
        return None

    def position(self, con: Any) -> str | None:
        version = _text(rows_of(con, "select version()")[0][0])
        (said,), = rows_of(
            con, "select @@gtid_current_pos" if "MariaDB" in version
            else "select @@global.gtid_executed")
        return "".join(_text(said).split()) or None

    def has_reached(self, con: Any, position: str) -> bool | None:
        # its characters were checked
        (reached,), = rows_of(
            con, f"select master_gtid_wait('{position}', 0) = 0"
            if _IN_DOMAIN.match(position)
            else f"select gtid_subset('{position}', @@global.gtid_executed)")
        return None if reached is None else bool(reached)

    def add_host(self, arguments: ConnectArguments, value: str) -> None:
        is_path = value.startswith("/")
        arguments.add(**{"unix_socket" if is_path else "host": value})

    def add_charset(self, arguments: ConnectArguments, value: str) -> None:
        arguments.add(charset="utf8mb4" if value.lower() == "utf-8" else value)

    def add_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(read_timeout=whole(value), write_timeout=whole(value))

    def add_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        if config.ssl:
            self.encrypt(arguments, config)
            arguments.steps.append(_EncryptionCheck(arguments.dbapi))
        else:
            self.leave_plain(arguments)

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        """Add the arguments that demand encryption."""
        raise NotImplementedError

    def leave_plain(self, arguments: ConnectArguments) -> None:
        """Add the arguments that demand a plain connection."""
        arguments.add(ssl_disabled=True)


class _EncryptionCheck:
    """A step that raises an error if a connection is not encrypted.

    Some of the drivers go on without encryption if the server cannot do it.
    """

    def __init__(self, dbapi: Any) -> None:
        self._error = dbapi.OperationalError

    def __call__(self, con: Any) -> None:
        cursor = con.cursor()
        cursor.execute("show session status like 'Ssl_cipher'")
        rows = cursor.fetchall()
        cursor.close()
        if not all(all(_values_of(row)) for row in rows):
            raise self._error(
                "The server does not encrypt the connection, but ssl=True"
                " demands that. [DBU-20]")


def _largest_lag(channels: list[dict[str, Any]]) -> float | None:
    """Return the lag of a replica that follows others through channels.

    It is unknown where nothing follows, or nothing is followed, for any of
    them.
    """
    lags = []
    for channel in channels:
        lag, reads, replays = (
            next((channel[name] for name in names if name in channel), None)
            for names in _SAID)
        if lag is None or {reads, replays} != {"Yes"}:
            return None
        lags.append(float(lag))
    return max(lags, default=None)


def _values(rows: list[Any]) -> dict[str, str]:
    """Return the values of variables by their names."""
    pairs = (map(_text, row) for row in rows)
    return {name.lower(): value for name, value in pairs}


def _is_without_role(con: Any) -> bool:
    """Return whether a session has no role, which a reset could have left.

    The role that a user has by default cannot be told from others.
    """
    role = rows_of(con, _ROLE)[0][-1]
    return role is None or _text(role).upper() == "NONE"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, (bytes, bytearray)) else (
        str(value))


def _values_of(row: Any) -> Any:
    return row.values() if isinstance(row, dict) else row


_may_be_open = (1).bit_length  # returns 1, and is written in C


class _LikePyMySql(_MySql):
    """The base of PyMySQL and mysqlclient."""

    readers: Mapping[str, str] = {"autocommit": "get_autocommit"}
    writers: Mapping[str, str] = {
        "autocommit": "autocommit", "database": "select_db",
        "charset": "set_character_set"}

    def first(self, con: Any) -> dict[str, Any]:
        return _with_database(super().first(con), con, "db")

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "collation":
            con.set_character_set(con.charset, value)
        else:
            super().write(con, name, value)

    def restore(self, con: Any, start: Any) -> bool:
        database = start.get("database")
        if database:
            con.select_db(database)
            return True
        cursor = con.cursor()
        cursor.execute("select database()")
        row = cursor.fetchone()
        cursor.close()
        return row is not None and not any(_values_of(row))


class _PyMySql(_LikePyMySql):
    module = "pymysql"
    socket_name = "_sock.fileno"
    parameter_names: Mapping[str, str] = {
        **_MySql.parameter_names, "application_name": "program_name"}
    # its connect_timeout does not cover the greeting of the server
    connect_timeout = "read_timeout"
    settings = (
        "autocommit", "cursorclass", "charset", "collation", "use_unicode")
    setters: Mapping[str, str] = {
        "autocommit": COMPARED, "select_db": "database",
        "set_charset": COMPARED, "set_character_set": COMPARED}

    def connected(self, con: Any) -> None:
        con._read_timeout = None  # noqa: SLF001 - there is no other way

    def in_transaction(self, con: Any) -> bool | None:
        # The flag is not up to date after a query, so that it can be false
        # although a transaction is open, unless in autocommit mode.
        status = con.server_status
        return True if status & 1 else False if status & 2 else None

    def status_of(self, con: Any) -> Any:
        # Unless each statement is committed at once, it can never be told
        # that no transaction is open, so the status need not even be read.
        return _may_be_open if ask(con, "get_autocommit") is False else None

    def is_closed(self, con: Any) -> bool | None:
        return not con.open

    def keeps_rows(self, cursor: Any) -> bool:
        return not hasattr(cursor, "read_next")  # those of an SSCursor

    def clean(self, con: Any, start: Any = None) -> bool:
        con._execute_command(_RESET_CONNECTION, b"")  # noqa: SLF001 - of the driver
        con._read_ok_packet()  # noqa: SLF001 - of the driver
        start = start or {}
        self._begin_again(con, start)
        return self.restore(con, start) and _is_without_role(con)

    def _begin_again(self, con: Any, start: Any) -> None:
        """Repeat what the driver does at the beginning of a session."""
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

    def add_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        """Limit the greeting of the server, too, which is read at first."""
        arguments.add(
            connect_timeout=value, read_timeout=value, write_timeout=value)
        arguments.after_connect("_read_timeout", None)
        arguments.after_connect("_write_timeout", None)

    def add_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.after_connect("_read_timeout", value)
        arguments.after_connect("_write_timeout", value)

    def connect(self, dbapi: Any, parameters: Kwargs, password: Any) -> Any:
        """Open a connection; PyMySQL itself would take passwords as Latin."""
        return super().connect(
            dbapi, parameters, password and password.encode())

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        arguments.add(ssl=tls_context(config))


class _MySqlClient(_LikePyMySql):
    module = "MySQLdb"
    socket_name = "fileno"
    connect_timeout = "connect_timeout"
    settings = ("autocommit", "charset")
    readers: Mapping[str, str] = {
        "autocommit": "get_autocommit", "charset": "character_set_name"}
    setters: Mapping[str, str] = {
        "autocommit": COMPARED, "select_db": "database",
        "set_character_set": COMPARED, "set_sql_mode": MARKS,
        "set_server_option": MARKS, "change_user": SPOILS}
    questions = _MySql.questions | {
        "errno", "error", "field_count", "fileno", "info", "stat",
        "warning_count"}

    def is_closed(self, con: Any) -> bool | None:
        return not getattr(con, "open", True)

    def keeps_rows(self, cursor: Any) -> bool:
        return has_base(cursor, "CursorStoreResultMixIn")

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        files = {
            "ca": config.ssl_ca, "cert": config.ssl_cert,
            "key": config.ssl_key}
        arguments.add(
            ssl_mode="VERIFY_IDENTITY" if config.ssl_ca else "REQUIRED",
            ssl={name: path for name, path in files.items() if path} or None)

    def leave_plain(self, arguments: ConnectArguments) -> None:
        arguments.add(ssl_mode="DISABLED")


class _MySqlConnector(_MySql):
    module = "mysql.connector"
    socket_name = "_socket.sock.fileno"
    connect_timeout = "connection_timeout"
    # The last ones are known to the driver alone, and the first of these
    # changes the second, too.
    settings = (
        "autocommit", "sql_mode", "time_zone", "charset",
        "raise_on_warnings", "get_warnings", "use_unicode", "read_timeout",
        "write_timeout", "can_consume_results", "query_attrs")
    unreadable = frozenset(("database", "user"))
    is_coarse = True
    setters: Mapping[str, str] = {
        "cmd_init_db": "database", "set_charset_collation": COMPARED,
        "cmd_change_user": SPOILS, "cmd_reset_connection": MARKS,
        "reset_session": MARKS}
    # Reading a setting can ask the server; where the driver notes it instead.
    readers: Mapping[str, str] = {
        "autocommit": "_autocommit", "sql_mode": "_sql_mode",
        "time_zone": "_time_zone", "charset": "_charset_id"}
    writers: Mapping[str, str] = {"charset": "set_charset_collation"}

    def in_transaction(self, con: Any) -> bool | None:
        # It knows what the answers say that were read.
        is_to_come = getattr(con, "_have_next_result", False)
        return None if is_to_come else ask(con, "in_transaction")

    def keeps_rows(self, cursor: Any) -> bool:
        return has_base(
            cursor, "CMySQLCursorBuffered", "MySQLCursorBuffered")

    def is_loss(self, error: BaseException) -> bool | None:
        lost = super().is_loss(error)
        return lost if lost is not None else (
            "Connection not available" in str(error) or None)

    def first(self, con: Any) -> dict[str, Any]:
        found = _with_database(super().first(con), con, "_database")
        return {**found, "user": getattr(con, "_user", None)}

    def read(self, con: Any, name: str) -> Any:
        value = super().read(con, name)
        # which older releases change in place
        return tuple(value) if name == "query_attrs" else value

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "query_attrs":
            con.query_attrs_clear()
            for attribute in value:
                con.query_attrs_append(attribute)
        elif name == "charset" or value is not None or (
                name not in self.readers):
            super().write(con, name, value)

    def clean(self, con: Any, start: Any = None) -> bool:
        start = start or {}
        for name, note in self.readers.items():
            if name in start:  # the driver sets them again after a reset
                setattr(con, note, start[name])
        if con.cmd_reset_connection() is False:
            return False
        return self._use(con, start) and _is_without_role(con)

    def restore(self, con: Any, start: Any) -> bool:
        for name in self.readers:
            if name == "autocommit" or self.read(con, name) != start[name]:
                if start[name] is None:  # only the server knows it
                    return False
                self.write(con, name, start[name])
        return self._use(con, start)

    def _use(self, con: Any, start: Any) -> bool:
        """Use the database of the beginning again; return whether it can.

        It cannot if the connection has another user now.
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

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        is_checked = True if config.ssl_ca else None
        arguments.add(
            ssl_disabled=False, ssl_ca=config.ssl_ca,
            ssl_verify_cert=is_checked, ssl_verify_identity=is_checked,
            ssl_cert=config.ssl_cert, ssl_key=config.ssl_key)

    def add_application_name(
            self, arguments: ConnectArguments, value: str) -> None:
        arguments.add(conn_attrs={"program_name": value})

    def add_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        constants = getattr(arguments.dbapi, "constants", None)
        if "read_timeout" not in getattr(
                constants, "DEFAULT_CONFIGURATION", ()):
            self.refuse("socket_timeout", " before its release 9.2")
        super().add_socket_timeout(arguments, value)


class _MariaDb(_MySql):
    module = "mariadb"
    connect_timeout = "connect_timeout"
    settings = ("autocommit",)
    writers: Mapping[str, str] = {"database": "select_db"}
    setters: Mapping[str, str] = {
        "select_db": "database", "change_user": SPOILS, "reset": MARKS}
    add_charset = accept_utf8

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
        return self.restore(con, {**start, "autocommit": autocommit}) and (
            _is_without_role(con))

    def restore(self, con: Any, start: Any) -> bool:
        con.autocommit = start["autocommit"]
        if start.get("database"):
            con.select_db(start["database"])
            return True
        return not ask(con, "database")

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        arguments.add(
            ssl=True, ssl_verify_cert=bool(config.ssl_ca),
            ssl_ca=config.ssl_ca, ssl_cert=config.ssl_cert,
            ssl_key=config.ssl_key)

    def leave_plain(self, arguments: ConnectArguments) -> None:
        arguments.add(ssl=False)


def _with_database(
        found: dict[str, Any], con: Any, name: str) -> dict[str, Any]:
    """Return settings with the database that a driver was told to use."""
    database = getattr(con, name, None)
    return {**found, "database": database} if database else found


DRIVERS = {
    "pymysql": _PyMySql(), "MySQLdb": _MySqlClient(),
    "mysql": _MySqlConnector(), "mariadb": _MariaDb(),
}
