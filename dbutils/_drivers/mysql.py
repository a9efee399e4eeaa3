"""How the drivers for MySQL and MariaDB are told the settings."""

from __future__ import annotations

from typing import Any, Mapping

from .arguments import (
    ConnectArguments,
    Dialect,
    SpeaksUtf8,
    tls_context,
    whole,
)

__all__ = ["MYSQL"]


class _MySql(Dialect):
    """What the drivers for MySQL and MariaDB have in common."""

    names: Mapping[str, str] = {
        "port": "port", "database": "database", "user": "user",
        "autocommit": "autocommit"}

    def say_host(self, arguments: ConnectArguments, value: str) -> None:
        is_path = value.startswith("/")
        arguments.add(**{"unix_socket" if is_path else "host": value})

    def say_charset(self, arguments: ConnectArguments, value: str) -> None:
        arguments.add(charset="utf8mb4" if value.lower() == "utf-8" else value)

    def say_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(connect_timeout=whole(value))

    def say_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(read_timeout=whole(value), write_timeout=whole(value))

    def say_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        if config.ssl:
            self.encrypt(arguments, config)
            arguments.steps.append(_Demand(arguments.driver))
        else:
            self.leave_plain(arguments)

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        """Demand that the connection is encrypted."""
        raise NotImplementedError

    def leave_plain(self, arguments: ConnectArguments) -> None:
        """Demand that it is not."""
        arguments.add(ssl_disabled=True)


class _Demand:
    """Looks whether a connection is encrypted.

    Some of the drivers go on without that if the server cannot do it.
    """

    def __init__(self, driver: Any) -> None:
        self._error = driver.OperationalError

    def __call__(self, con: Any) -> None:
        cursor = con.cursor()
        cursor.execute("show session status like 'Ssl_cipher'")
        rows = cursor.fetchall()
        cursor.close()
        if not all(all(_values_of(row)) for row in rows):
            raise self._error(
                "The server does not encrypt the connection, but ssl=True"
                " demands that.")


def _values_of(row: Any) -> Any:
    return row.values() if isinstance(row, dict) else row


class _PyMySql(_MySql):
    module = "pymysql"

    def say_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        """Limit the greeting of the server, too, which is read at first."""
        arguments.add(
            connect_timeout=value, read_timeout=value, write_timeout=value)
        arguments.after_connect("_read_timeout", None)
        arguments.after_connect("_write_timeout", None)

    def say_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.after_connect("_read_timeout", value)
        arguments.after_connect("_write_timeout", value)

    def connect(
            self, driver: Any, parameters: dict[str, Any],
            password: Any) -> Any:
        """Open a connection; PyMySQL itself would take passwords as Latin."""
        return super().connect(
            driver, parameters, password and password.encode())

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        arguments.add(ssl=tls_context(config))

    def say_application_name(
            self, arguments: ConnectArguments, value: str) -> None:
        arguments.add(program_name=value)


class _MySqlClient(_MySql):
    module = "MySQLdb"

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
    hints: Mapping[str, str] = {"socket_timeout": " before its release 9.2"}

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        is_checked = True if config.ssl_ca else None
        arguments.add(
            ssl_disabled=False, ssl_ca=config.ssl_ca,
            ssl_verify_cert=is_checked, ssl_verify_identity=is_checked,
            ssl_cert=config.ssl_cert, ssl_key=config.ssl_key)

    def say_application_name(
            self, arguments: ConnectArguments, value: str) -> None:
        arguments.add(conn_attrs={"program_name": value})

    def say_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(connection_timeout=whole(value))

    def say_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        constants = getattr(arguments.driver, "constants", None)
        if "read_timeout" not in getattr(
                constants, "DEFAULT_CONFIGURATION", ()):
            self.refuse("socket_timeout")
        super().say_socket_timeout(arguments, value)


class _MariaDb(SpeaksUtf8, _MySql):
    module = "mariadb"

    def encrypt(self, arguments: ConnectArguments, config: Any) -> None:
        arguments.add(
            ssl=True, ssl_verify_cert=bool(config.ssl_ca),
            ssl_ca=config.ssl_ca, ssl_cert=config.ssl_cert,
            ssl_key=config.ssl_key)

    def leave_plain(self, arguments: ConnectArguments) -> None:
        arguments.add(ssl=False)


# in the order of preference
MYSQL = (_PyMySql(), _MySqlClient(), _MySqlConnector(), _MariaDb())
