"""How the drivers for PostgreSQL are told the settings of a connection."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, Callable, Mapping

from .arguments import (
    ConnectArguments,
    Dialect,
    SpeaksUtf8,
    needs_host,
    tls_context,
    whole,
)

__all__ = ["POSTGRESQL"]

# The first release of libpq that knows tcp_user_timeout.
_USER_TIMEOUT = 120000


class _LibPq(Dialect):
    """What the drivers that use libpq have in common."""

    names: Mapping[str, str] = {
        "host": "host", "port": "port", "database": "dbname", "user": "user",
        "charset": "client_encoding", "application_name": "application_name"}

    def translate(self, config: Any, driver: Any) -> ConnectArguments:
        arguments = super().translate(config, driver)
        if arguments.silence is not None:
            for name, value in _signs_of_life(arguments.silence, driver).items(
                    ):
                arguments.parameters.setdefault(name, value)
        return arguments

    def say_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.silence = value

    def say_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(connect_timeout=whole(value))

    def say_autocommit(self, arguments: ConnectArguments, value: bool) -> None:
        arguments.after_connect("autocommit", value)

    def say_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        needs_host(config)
        mode = "verify-full" if config.ssl_ca else "require"
        arguments.add(
            sslmode=mode if config.ssl else "disable",
            sslrootcert=config.ssl_ca, sslcert=config.ssl_cert,
            sslkey=config.ssl_key)


def _signs_of_life(seconds: float, driver: Any) -> dict[str, int]:
    """Return the parameters that notice a server that is gone in time."""
    probes = 3
    parameters = {
        "keepalives": 1, "keepalives_idle": whole(seconds / 2),
        "keepalives_interval": whole(seconds / 2 / probes),
        "keepalives_count": probes}
    if getattr(driver, "__libpq_version__", _USER_TIMEOUT) >= _USER_TIMEOUT:
        parameters["tcp_user_timeout"] = math.ceil(seconds * 1000)
    return parameters


class _Psycopg2(_LibPq):
    module = "psycopg2"


class _Psycopg(_LibPq):
    module = "psycopg"

    def say_autocommit(self, arguments: ConnectArguments, value: bool) -> None:
        arguments.add(autocommit=value)


class _Pgdb(_LibPq):
    module = "pgdb"

    def connect(
            self, driver: Any, parameters: dict[str, Any],
            password: Any) -> Any:
        """Open a connection with a text, since pgdb quotes too little."""
        text = " ".join(
            f"{name}={_quote(value)}" for name, value in parameters.items())
        return driver.connect(database=text or None, password=password)


def _quote(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


class _Pg8000(SpeaksUtf8):
    module = "pg8000.dbapi"
    names: Mapping[str, str] = {
        "host": "host", "port": "port", "database": "database",
        "user": "user", "application_name": "application_name"}

    def say_autocommit(self, arguments: ConnectArguments, value: bool) -> None:
        arguments.after_connect("autocommit", value)

    def say_connection_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.add(timeout=value)
        arguments.steps.append(_limit_socket(None))  # which it stays for

    def say_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.steps.append(_limit_socket(value))

    def say_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        needs_host(config)
        if config.ssl:
            arguments.add(ssl_context=tls_context(config))
        elif hasattr(import_module("pg8000.core"), "_make_socket"):
            # old releases need nothing for that
            arguments.add(ssl_context=False)

    def connect(
            self, driver: Any, parameters: dict[str, Any],
            password: Any) -> Any:
        """Open a connection, to a local socket if the host is a folder."""
        parameters = parameters.copy()
        host = parameters.get("host")
        if host and host.startswith("/"):
            del parameters["host"]
            parameters["unix_sock"] = (
                f"{host}/.s.PGSQL.{parameters.get('port', 5432)}")
        return super().connect(driver, parameters, password)


def _limit_socket(seconds: float | None) -> Callable[[Any], None]:
    def step(con: Any) -> None:
        con._usock.settimeout(seconds)  # noqa: SLF001 - no other way
    return step


# in the order of preference
POSTGRESQL = (_Psycopg2(), _Psycopg(), _Pg8000(), _Pgdb())
