"""Drivers for SQL Server."""

from __future__ import annotations

from collections.abc import Mapping

from .._base.atomic import loaded
from .._base.checks import whole
from .._base.hints import Any, Kwargs
from .._base.secrets import Secret
from .arguments import ConnectArguments, accept_utf8
from .driver import COMPARED, MARKS, DriverFacts, ExactDriver, ask

__all__ = ["DRIVERS"]


class _SqlServer(ExactDriver):
    """The base of pyodbc and pymssql."""

    transient_codes = frozenset((1205, "40001"))
    read_only_codes = frozenset((3906,))
    sets_ahead = True
    server_questions: Mapping[str, str] = {
        "version": "select serverproperty('productversion')",
        "limit": "select @@max_connections",
        "processors": "select cpu_count from sys.dm_os_sys_info"}

    def refuse_files(self, config: Any) -> None:
        """Refuse certificates in files, which the driver does not know."""
        for setting in ("ssl_ca", "ssl_cert", "ssl_key"):
            if getattr(config, setting) is not None:
                self.refuse(setting, ", but only the system")


class _Pyodbc(_SqlServer):
    connect_timeout = "timeout"
    settings = ("autocommit", "timeout")
    setters = dict.fromkeys((
        "add_output_converter", "clear_output_converters",
        "remove_output_converter", "set_attr", "setdecoding", "setencoding",
        ), MARKS)

    def is_closed(self, con: Any) -> Any:
        return ask(con, "closed")

    def code(self, error: BaseException) -> Any:
        code = error.args[0] if error.args else None
        return code if isinstance(code, str) else None

    def is_loss(self, error: BaseException) -> bool | None:
        code = self.code(error)
        return None if code is None else code.startswith("08")

    module = "pyodbc"
    parameter_names: Mapping[str, str] = {
        "host": "SERVER", "database": "DATABASE", "user": "UID",
        "application_name": "APP", "autocommit": "autocommit"}
    # the parameters of the driver that are no part of the text
    own = frozenset((
        "ansi", "attrs_before", "autocommit", "encoding", "readonly",
        "timeout"))
    add_charset = accept_utf8

    def arguments_for(self, config: Any, dbapi: Any) -> ConnectArguments:
        arguments = super().arguments_for(config, dbapi)
        if not {name.upper() for name in arguments.parameters} & {
                "DRIVER", "DSN"}:
            arguments.add(DRIVER=_odbc_driver(dbapi))
            arguments.parameters.setdefault("SERVER", "localhost")
        return arguments

    def add_port(self, arguments: ConnectArguments, value: int) -> None:
        server = arguments.parameters.get("SERVER", "localhost")
        arguments.add(SERVER=f"{server},{value}")

    def add_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.after_connect("timeout", whole(value))

    def add_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        self.refuse_files(config)
        arguments.add(Encrypt="yes" if config.ssl else "no")

    def connect(self, dbapi: Any, parameters: Kwargs, password: Any) -> Any:
        """Open a connection with a text in which everything is quoted."""
        said = {"PWD": password} if password is not None else {}
        others: dict[str, Any] = {}
        for name, value in parameters.items():
            (others if name in self.own else said)[name] = value
        text = ";".join(
            f"{name}={_quote(value)}" for name, value in said.items())
        return dbapi.connect(Secret(text), **others)


def _quote(value: Any) -> str:
    text = str(value).replace("}", "}}")
    return f"{{{text}}}"


def _odbc_driver(dbapi: Any) -> str:
    """Return the newest ODBC driver for SQL Server that is installed."""
    names: list[str] = [
        name for name in dbapi.drivers() if name.endswith("for SQL Server")]
    if not names:
        raise ValueError(
            "There is no ODBC driver for SQL Server; if there is another"
            " one, name it with options={'DRIVER': ...}. [DBU-07]")
    return max(names, key=lambda name: [
        int(word) for word in name.split() if word.isdigit()])


class _Pymssql(_SqlServer):
    connect_timeout = "login_timeout"
    settings = ("autocommit",)
    readers: Mapping[str, str] = {"autocommit": "autocommit_state"}
    writers: Mapping[str, str] = {"autocommit": "autocommit"}
    setters = dict.fromkeys(("autocommit",), COMPARED)
    lost_codes = frozenset((20003, 20004, 20006, 20047))

    @property
    def tells_work(self) -> bool:
        return False

    def in_transaction(self, con: Any) -> bool | None:
        return False if ask(con, "autocommit_state") is True else None

    def is_closed(self, con: Any) -> bool | None:
        connected = ask(con, "_conn.connected")
        return None if connected is None else not connected

    # Its cursors read rows and facts from the connection when asked.
    def keeps_values(self, cursor: Any) -> bool:
        return False

    def code(self, error: BaseException) -> Any:
        code = error.args[0] if error.args else None
        if isinstance(code, tuple) and code:  # with its text
            code = code[0]
        return code if isinstance(code, int) else None

    module = "pymssql"
    parameter_names: Mapping[str, str] = {
        "host": "server", "database": "database", "user": "user",
        "charset": "charset", "autocommit": "autocommit",
        "application_name": "appname"}

    def add_port(self, arguments: ConnectArguments, value: int) -> None:
        arguments.add(port=str(value))

    def add_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(timeout=whole(value))

    def add_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        self.refuse_files(config)
        arguments.add(encryption="require" if config.ssl else "off")


class _MsSqlPython(DriverFacts):
    closed_name = "closed"
    autocommit_name = "autocommit"
    settings = ("autocommit", "timeout")
    # The texts that this driver has for the SQLSTATEs that mean a loss.
    _texts = frozenset((
        "Communication link failure", "Connection not open",
        "Connection failure during transaction"))

    def is_loss(self, error: BaseException) -> bool | None:
        if getattr(error, "driver_error", None) in self._texts:
            return True
        return super().is_loss(error)

    def warning(self) -> str | None:
        pooling = loaded("mssql_python.pooling")
        if not ask(pooling, "PoolingManager.is_enabled"):
            return None
        return (
            "mssql_python pools connections by itself, below this pool. Call"
            " mssql_python.pooling(enabled=False) before it connects."
            " [DBU-24]")


class _PyTds(DriverFacts):
    autocommit_name = "autocommit"

    def is_closed(self, con: Any) -> bool | None:
        return getattr(con, "_tds_socket", con) is None


DRIVERS: dict[str, DriverFacts] = {
    "pyodbc": _Pyodbc(), "pymssql": _Pymssql(),
    "mssql_python": _MsSqlPython(), "pytds": _PyTds(),
}
