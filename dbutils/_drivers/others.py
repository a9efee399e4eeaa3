"""How the drivers for SQLite, Oracle and SQL Server are told the settings."""

from __future__ import annotations

import math
from typing import Any, Mapping

from .._base.secrets import Secret
from .arguments import (
    ConnectArguments,
    Dialect,
    SpeaksUtf8,
    tls_context,
    whole,
)

__all__ = ["ORACLE", "SQLITE", "SQLSERVER"]


class _Sqlite(SpeaksUtf8):
    module = "sqlite3"
    # all that can be waited for there is that others have written
    names: Mapping[str, str] = {
        "database": "database", "connection_timeout": "timeout"}

    def translate(self, config: Any, driver: Any) -> ConnectArguments:
        if config.password is not None:
            self.refuse("password")
        if config.database is None:
            raise ValueError("A SQLite database needs the name of a file.")
        arguments = super().translate(config, driver)
        arguments.parameters.setdefault("check_same_thread", False)
        return arguments

    def say_autocommit(self, arguments: ConnectArguments, value: bool) -> None:
        if value:
            arguments.parameters["isolation_level"] = None

    def say_ssl(self, arguments: ConnectArguments, config: Any) -> None:  # noqa: ARG002
        if config.ssl:
            self.refuse("ssl")


class _OracleDb(SpeaksUtf8):
    module = "oracledb"
    names: Mapping[str, str] = {
        "host": "host", "port": "port", "database": "service_name",
        "user": "user", "connection_timeout": "tcp_connect_timeout"}
    hints: Mapping[str, str] = {
        **SpeaksUtf8.hints, "ssl_cert": " without 'ssl_ca'"}
    overruling = frozenset(("dsn", "params"))

    def translate(self, config: Any, driver: Any) -> ConnectArguments:
        arguments = super().translate(config, driver)
        if config.host is None and config.database is not None:
            arguments.parameters["dsn"] = arguments.parameters.pop(
                "service_name")
        return arguments

    def say_autocommit(self, arguments: ConnectArguments, value: bool) -> None:
        arguments.after_connect("autocommit", value)

    def say_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.after_connect("call_timeout", math.ceil(value * 1000))

    def say_application_name(
            self, arguments: ConnectArguments, value: str) -> None:
        arguments.after_connect("module", value)

    def say_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        if config.ssl and config.host is None:
            raise ValueError("'ssl' needs the name of a 'host'.")
        arguments.add(protocol="tcps" if config.ssl else "tcp")
        if config.ssl_ca:
            arguments.add(
                ssl_context=tls_context(config), ssl_server_dn_match=True)
        elif config.ssl_cert:
            self.refuse("ssl_cert")

    def connect(
            self, driver: Any, parameters: dict[str, Any],
            password: Any) -> Any:
        """Open a connection with plain texts; the driver takes no others."""
        plain = {
            name: str(value) if isinstance(value, str) else value
            for name, value in parameters.items()}
        return super().connect(
            driver, plain, None if password is None else str(password))


class _SqlServer(Dialect):
    """What the drivers for SQL Server have in common."""

    files = ("ssl_ca", "ssl_cert", "ssl_key")
    hints: Mapping[str, str] = dict.fromkeys(files, ", but only the system")

    def check_files(self, config: Any) -> None:
        """Refuse what the driver does not know."""
        for setting in self.files:
            if getattr(config, setting) is not None:
                self.refuse(setting)


class _PyOdbc(SpeaksUtf8, _SqlServer):
    module = "pyodbc"
    names: Mapping[str, str] = {
        "host": "SERVER", "database": "DATABASE", "user": "UID",
        "application_name": "APP", "autocommit": "autocommit"}
    hints: Mapping[str, str] = {**SpeaksUtf8.hints, **_SqlServer.hints}
    # what is a parameter of the driver, and no part of the text
    own = frozenset((
        "ansi", "attrs_before", "autocommit", "encoding", "readonly",
        "timeout"))

    def translate(self, config: Any, driver: Any) -> ConnectArguments:
        arguments = super().translate(config, driver)
        if not {name.upper() for name in arguments.parameters} & {
                "DRIVER", "DSN"}:
            arguments.add(DRIVER=_odbc_driver(driver))
            arguments.parameters.setdefault("SERVER", "localhost")
        return arguments

    def say_port(self, arguments: ConnectArguments, value: int) -> None:
        server = arguments.parameters.get("SERVER", "localhost")
        arguments.add(SERVER=f"{server},{value}")

    def say_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(timeout=whole(value))

    def say_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.after_connect("timeout", whole(value))

    def say_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        self.check_files(config)
        arguments.add(Encrypt="yes" if config.ssl else "no")

    def connect(
            self, driver: Any, parameters: dict[str, Any],
            password: Any) -> Any:
        """Open a connection with a text in which everything is quoted."""
        said = {"PWD": password} if password is not None else {}
        others: dict[str, Any] = {}
        for name, value in parameters.items():
            (others if name in self.own else said)[name] = value
        text = ";".join(
            f"{name}={_quote(value)}" for name, value in said.items())
        return driver.connect(Secret(text), **others)


def _quote(value: Any) -> str:
    text = str(value).replace("}", "}}")
    return f"{{{text}}}"


def _odbc_driver(driver: Any) -> str:
    """Return the newest ODBC driver for SQL Server that is installed."""
    names = [
        name for name in driver.drivers() if name.endswith("for SQL Server")]
    if not names:
        raise ValueError(
            "There is no ODBC driver for SQL Server; if there is another"
            " one, name it with options={'DRIVER': ...}.")
    return max(names, key=lambda name: [
        int(word) for word in name.split() if word.isdigit()])


class _PyMsSql(_SqlServer):
    module = "pymssql"
    names: Mapping[str, str] = {
        "host": "server", "database": "database", "user": "user",
        "charset": "charset", "autocommit": "autocommit",
        "application_name": "appname"}

    def say_port(self, arguments: ConnectArguments, value: int) -> None:
        arguments.add(port=str(value))

    def say_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(login_timeout=whole(value))

    def say_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(timeout=whole(value))

    def say_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        self.check_files(config)
        arguments.add(encryption="require" if config.ssl else "off")


# in the order of preference
SQLITE = (_Sqlite(),)
ORACLE = (_OracleDb(),)
SQLSERVER = (_PyOdbc(), _PyMsSql())
