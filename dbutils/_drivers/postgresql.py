"""Drivers for PostgreSQL, and for databases that speak like it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module

from .._base.checks import whole
from .._base.errors import quietly
from .._base.hints import Any, Kwargs
from .arguments import (
    ConnectArguments,
    accept_utf8,
    demand_host,
    tls_context,
)
from .driver import COMPARED, MARKS, DriverFacts, ExactDriver, ask, question
from .standing import PRIMARY, READ_ONLY, STANDBY, Standing, rows_of

__all__ = ["DRIVERS"]

# The status of a failed transaction, and that of a bad connection.
_FAILED, _UNKNOWN = 3, 4
# The first release of libpq that knows tcp_user_timeout.
_USER_TIMEOUT = 120000
# The greatest number of a process.  Where a proxy does not tell which session
# it has, it makes up a number, which is greater, or negative, nearly always.
_MOST = 2 ** 22
_TRUE = frozenset(("t", "true"))
_SETTING = "select setting from pg_settings where name = '{}'"
# Whether a server follows another one, whether it refuses to write, and to
# where it has written or replayed.
_STANDING = (
    "select pg_is_in_recovery(),"
    " current_setting('transaction_read_only') = 'on',"
    " (case when pg_is_in_recovery() then pg_last_wal_replay_lsn()"
    " else pg_current_wal_insert_lsn() end - '0/0'::pg_lsn)::bigint")


# The length of the second half of a position, in bits.
_HALF = 32


def _lsn(offset: int) -> str:
    """Return a position in the log as the server writes it."""
    return f"{offset >> _HALF:X}/{offset & 2 ** _HALF - 1:X}"


def _offset(lsn: str) -> int:
    """Return a position in the log as a number."""
    upper, _, lower = lsn.partition("/")
    return (int(upper, 16) << _HALF) + int(lower, 16)


class _PostgreSql(ExactDriver):
    """The base of the drivers for PostgreSQL."""

    lost_codes = frozenset(("57P01", "57P02", "57P05", "25P03"))
    transient_codes = frozenset(("40001", "40P01"))
    read_only_codes = frozenset(("25006",))
    settings: tuple[str, ...] = ("autocommit",)
    autocommit_name = "autocommit"
    socket_name = "fileno"
    # The path of the number of the session, as it was told when connecting.
    session_name: str | None = None
    connect_timeout: str | None = "connect_timeout"
    attribute_names: Mapping[str, str] = {"autocommit": "autocommit"}
    server_questions: Mapping[str, str] = {
        "version": _SETTING.format("server_version"),
        "limit": _SETTING.format("max_connections"),
        "reserved": _SETTING.format("superuser_reserved_connections"),
        "in_use": (
            "select count(*) from pg_stat_activity"
            " where backend_type = 'client backend'"),
        "idle_timeout": (
            "select setting::numeric / 1000 from pg_settings"
            " where name = 'idle_session_timeout'"),
        "transaction_timeout": (
            "select setting::numeric / 1000 from pg_settings"
            " where name = 'idle_in_transaction_session_timeout'"),
        "isolation": _SETTING.format("default_transaction_isolation"),
        "read_only": (
            "select pg_is_in_recovery()"
            " or current_setting('transaction_read_only') = 'on'"),
        "encrypted": (
            "select ssl from pg_stat_ssl where pid = pg_backend_pid()"),
        "port": "select inet_server_port()",
        # only privileged users are told
        "processors": (
            "select count(*) from pg_ls_dir('/sys/devices/system/cpu') as file"
            " where file ~ '^cpu[0-9]+$'"),
        "session": "select pg_backend_pid()"}

    def may_be_pooled(self, con: Any) -> bool | None:
        number = self.session_number(con)
        is_told = isinstance(number, int)
        return not 0 < number <= _MOST if is_told else None

    def session_number(self, con: Any) -> Any:
        """Return the number of the session, None if it is not known."""
        return None if self.session_name is None else ask(
            con, self.session_name)

    def standing(self, con: Any) -> Standing | None:
        return self.standing_in(rows_of(con, _STANDING))

    def standing_in(self, rows: list[Any]) -> Standing:
        """Return the standing that an answer tells."""
        (follows, refuses, position), = rows
        role = STANDBY if follows else READ_ONLY if refuses else PRIMARY
        return Standing(role, None if position is None else int(position))

    def position(self, con: Any) -> str | None:
        standing = self.standing(con)
        reached = None if standing is None else standing.position
        return None if reached is None else _lsn(reached)

    def has_reached(self, con: Any, position: str) -> bool | None:
        reached = self.position(con)
        return None if reached is None else (
            _offset(reached) >= _offset(position))

    def is_closed(self, con: Any) -> bool | None:
        closed = getattr(con, "closed", None)
        return None if closed is None else bool(closed)

    def code(self, error: BaseException) -> Any:
        return getattr(error, "sqlstate", None)

    def is_loss(self, error: BaseException) -> bool | None:
        code = self.code(error)
        if code is None:
            return None
        return code in self.lost_codes or str(code).startswith("08")

    def clean(self, con: Any, start: Any = None) -> bool:
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


class _LibPq(_PostgreSql):
    """The base of the drivers that use libpq."""

    aborted = (_FAILED,)
    parameter_names: Mapping[str, str] = {
        "host": "host", "port": "port", "database": "dbname", "user": "user",
        "charset": "client_encoding", "application_name": "application_name"}

    def arguments_for(self, config: Any, dbapi: Any) -> ConnectArguments:
        arguments = super().arguments_for(config, dbapi)
        if arguments.silence is not None:
            keepalives = _keepalives(arguments.silence, dbapi)
            arguments.parameters = {**keepalives, **arguments.parameters}
        return arguments

    def add_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.silence = value

    def add_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        demand_host(config)
        mode = "verify-full" if config.ssl_ca else "require"
        arguments.add(
            sslmode=mode if config.ssl else "disable",
            sslrootcert=config.ssl_ca, sslcert=config.ssl_cert,
            sslkey=config.ssl_key)


def _keepalives(seconds: float, dbapi: Any) -> dict[str, int]:
    """Return the parameters that notice in time that a server is gone."""
    probes = 3
    parameters = {
        "keepalives": 1, "keepalives_idle": whole(seconds / 2),
        "keepalives_interval": whole(seconds / 2 / probes),
        "keepalives_count": probes}
    if getattr(dbapi, "__libpq_version__", _USER_TIMEOUT) >= _USER_TIMEOUT:
        parameters["tcp_user_timeout"] = math.ceil(seconds * 1000)
    return parameters


class _Psycopg2(_LibPq):
    module = "psycopg2"
    session_name = "get_backend_pid"
    transaction_name = "get_transaction_status"
    checks_types = True
    freed_cursor = "psycopg2.extensions.cursor"
    settings = (
        "autocommit", "isolation_level", "readonly", "deferrable",
        "cursor_factory", "encoding", "string_types")
    writers: Mapping[str, str] = {"encoding": "set_client_encoding"}
    setters: Mapping[str, str] = {
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
        is_closed = status == _UNKNOWN and con.closed == 1  # by the program
        return None if is_closed else True

    def read(self, con: Any, name: str) -> Any:
        if name != "string_types":
            return super().read(con, name)
        # with their identities, since two are equal if they are for the same
        return {
            key: (id(cast), cast) for key, cast in con.string_types.items()}

    def write(self, con: Any, name: str, value: Any) -> None:
        if name == "string_types":  # register_type() fills it
            con.string_types.clear()
            con.string_types.update({
                key: cast for key, (_, cast) in value.items()})
        else:
            super().write(con, name, value)

    def clean(self, con: Any, start: Any = None) -> bool:
        con.notifies.clear()  # of channels that the last user listened to
        return super().clean(con, start)

    def keeps_rows(self, cursor: Any) -> bool:
        return getattr(cursor, "name", "") is None  # the server has no names

    def code(self, error: BaseException) -> Any:
        return getattr(error, "pgcode", None)


# The lists of psycopg with the functions that get notices and notifications.
_HANDLERS = ("_notice_handlers", "_notify_handlers")


class _Psycopg(_LibPq):
    module = "psycopg"
    session_name = "pgconn.backend_pid"
    transaction_name = "pgconn.transaction_status"
    parameter_names: Mapping[str, str] = {
        **_LibPq.parameter_names, "autocommit": "autocommit"}
    checks_types = True
    settings = (
        "autocommit", "isolation_level", "read_only", "deferrable",
        "row_factory", "cursor_factory", "server_cursor_factory",
        "prepare_threshold", "prepared_max", *_HANDLERS)
    setters: Mapping[str, str] = {
        "set_autocommit": COMPARED, "set_isolation_level": COMPARED,
        "set_read_only": COMPARED, "set_deferrable": COMPARED,
        "add_notice_handler": COMPARED, "remove_notice_handler": COMPARED,
        "add_notify_handler": COMPARED, "remove_notify_handler": COMPARED}
    questions = frozenset(("fileno", "xid"))
    doors = frozenset(("pgconn",))
    cursor_options = frozenset(("binary",))

    def in_transaction(self, con: Any) -> bool | None:
        status = ask(con, "pgconn.transaction_status")
        if status == 0:  # as nearly always
            return False
        is_closed = status == _UNKNOWN and ask(con, "_closed")
        return None if status is None or is_closed else True

    def read(self, con: Any, name: str) -> Any:
        value = super().read(con, name)
        return tuple(value) if name in _HANDLERS else value

    def write(self, con: Any, name: str, value: Any) -> None:
        if name in _HANDLERS:
            getattr(con, name)[:] = value
        else:
            super().write(con, name, value)

    def number_of(self, con: Any) -> Any:
        return question(con, "pgconn.socket")

    def join_pooler(self, con: Any) -> None:
        con.prepare_threshold = None

    def keeps_rows(self, cursor: Any) -> bool:
        # server-side cursors have names; a pipeline may owe the result
        return not hasattr(cursor, "name") and cursor.pgresult is not None


class _WithStream(DriverFacts):
    """The base of pg8000 and of its relative."""

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


class _Pg8000(_WithStream, _PostgreSql):
    module = "pg8000.dbapi"
    transaction_name = "_in_transaction"
    socket_name = "_usock.fileno"
    connect_timeout = "timeout"
    parameter_names: Mapping[str, str] = {
        "host": "host", "port": "port", "database": "database",
        "user": "user", "application_name": "application_name"}
    add_charset = accept_utf8

    def is_aborted(self, con: Any) -> bool:
        return getattr(con, "_transaction_status", None) == b"E"

    def session_number(self, con: Any) -> Any:
        data = getattr(con, "_backend_key_data", None)
        return data and int.from_bytes(data[:4], "big")

    def connected(self, con: Any) -> None:
        con._usock.settimeout(None)  # noqa: SLF001 - there is no other way

    def is_closed(self, con: Any) -> bool | None:
        if getattr(con, "_sock", con) is None:
            return True
        descriptor = self.descriptor(con)
        return None if descriptor is None else descriptor < 0

    def keeps_rows(self, cursor: Any) -> bool:
        return True

    def code(self, error: BaseException) -> Any:
        details = error.args[0] if error.args else None
        return details.get("C") if isinstance(details, dict) else None

    def add_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(timeout=value)
        arguments.steps.append(self.connected)  # it would keep the limit

    def add_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.steps.append(
            lambda con: con._usock.settimeout(value))  # noqa: SLF001 - no other way

    def add_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        demand_host(config)
        if config.ssl:
            arguments.add(ssl_context=tls_context(config))
        elif hasattr(import_module("pg8000.core"), "_make_socket"):
            # old releases need nothing for that
            arguments.add(ssl_context=False)

    def connect(self, dbapi: Any, parameters: Kwargs, password: Any) -> Any:
        """Open a connection, to a local socket if the host is a folder."""
        parameters = parameters.copy()
        host = parameters.get("host")
        if host and host.startswith("/"):
            del parameters["host"]
            parameters["unix_sock"] = (
                f"{host}/.s.PGSQL.{parameters.get('port', 5432)}")
        return super().connect(dbapi, parameters, password)


class _Pgdb(_LibPq):
    module = "pgdb"
    session_name = "_cnx.backend_pid"
    transaction_name = "_cnx.transaction"
    socket_name = "_cnx.fileno"
    settings = ("autocommit", "cursor_type")

    def keeps_rows(self, cursor: Any) -> bool:
        return True

    def connect(self, dbapi: Any, parameters: Kwargs, password: Any) -> Any:
        """Open a connection with a text, since pgdb quotes too little."""
        text = " ".join(
            f"{name}={_quote(value)}" for name, value in parameters.items())
        return dbapi.connect(database=text or None, password=password)


def _quote(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


class _ClassicPg(_PostgreSql):
    """The class DB of classic PyGreSQL."""

    settings = ("use_regtypes", "notice_receiver")
    readers: Mapping[str, str] = {
        "use_regtypes": "use_regtypes",
        "notice_receiver": "get_notice_receiver"}
    writers: Mapping[str, str] = {
        "use_regtypes": "use_regtypes",
        "notice_receiver": "set_notice_receiver"}
    setters: Mapping[str, str] = {
        "use_regtypes": COMPARED, "set_notice_receiver": COMPARED}
    doors = frozenset(("db",))
    transaction_name = "db.transaction"
    socket_name = "db.fileno"

    def is_closed(self, con: Any) -> bool | None:
        return not getattr(getattr(con, "db", None), "status", False)

    def standing(self, con: Any) -> Standing | None:
        # a program can have booleans returned as texts
        return self.standing_in([
            [value in _TRUE if isinstance(value, str) else value
             for value in row]
            for row in con.query(_STANDING).getresult()])

    def clean(self, con: Any, start: Any = None) -> bool:
        con.query("discard all")
        return True


class _Relative(DriverFacts):
    """A relative of the drivers for PostgreSQL."""

    is_known = True
    settings = ("autocommit",)
    autocommit_name = "autocommit"


class _LikePsycopg2(_Relative):
    transaction_name = "get_transaction_status"
    aborted = (_FAILED,)
    closed_name = "closed"
    socket_name = "fileno"

    def clean(self, con: Any, start: Any = None) -> bool:
        return DRIVERS["psycopg2"].clean(con, start)


class _Redshift(_WithStream, _Relative):
    transaction_name = "in_transaction"
    socket_name = "_usock.fileno"

    def is_closed(self, con: Any) -> bool | None:
        number = ask(con, "_usock.fileno")
        return None if number is None else number < 0


DRIVERS: dict[str, DriverFacts] = {
    "psycopg2": _Psycopg2(), "psycopg": _Psycopg(), "pg8000": _Pg8000(),
    "pgdb": _Pgdb(), "pg": _ClassicPg(), "psycopg2cffi": _LikePsycopg2(),
    "ksycopg2": _LikePsycopg2(), "gaussdb": _LikePsycopg2(
        transaction_name="info.transaction_status"),
    "redshift_connector": _Redshift(),
}
