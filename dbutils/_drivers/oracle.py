"""Drivers for Oracle."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .._base.hints import Any, Kwargs
from .arguments import ConnectArguments, accept_utf8, tls_context
from .driver import ExactDriver, ask

__all__ = ["DRIVERS"]


class _CxOracle(ExactDriver):
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

    def in_transaction(self, con: Any) -> Any:
        return ask(con, "transaction_in_progress")

    def has_written(self, con: Any) -> Any:
        return self.in_transaction(con)

    def is_closed(self, con: Any) -> bool | None:
        healthy = ask(con, "is_healthy")  # this does not ask the server
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
    module = "oracledb"
    connect_timeout = "tcp_connect_timeout"
    parameter_names: Mapping[str, str] = {
        "host": "host", "port": "port", "database": "service_name",
        "user": "user", "connection_timeout": "tcp_connect_timeout"}
    attribute_names: Mapping[str, str] = {
        "autocommit": "autocommit", "application_name": "module"}
    overruling = frozenset(("dsn", "params"))
    server_questions: Mapping[str, str] = {
        "version": "select banner from v$version",
        "processors": (
            "select value from v$parameter where name = 'cpu_count'")}
    add_charset = accept_utf8

    def arguments_for(self, config: Any, dbapi: Any) -> ConnectArguments:
        arguments = super().arguments_for(config, dbapi)
        if config.host is None and config.database is not None:
            arguments.parameters["dsn"] = arguments.parameters.pop(
                "service_name")
        return arguments

    def add_socket_timeout(
            self, arguments: ConnectArguments, value: float) -> None:
        arguments.after_connect("call_timeout", math.ceil(value * 1000))

    def add_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        if config.ssl and config.host is None:
            raise ValueError("'ssl' needs the name of a 'host'. [DBU-19]")
        arguments.add(protocol="tcps" if config.ssl else "tcp")
        if config.ssl_ca:
            arguments.add(
                ssl_context=tls_context(config), ssl_server_dn_match=True)
        elif config.ssl_cert:
            self.refuse("ssl_cert", " without 'ssl_ca'")

    def connect(self, dbapi: Any, parameters: Kwargs, password: Any) -> Any:
        """Open a connection with plain texts; the driver takes no others."""
        plain = {
            name: str(value) if isinstance(value, str) else value
            for name, value in parameters.items()}
        return super().connect(
            dbapi, plain, None if password is None else str(password))


DRIVERS = {"oracledb": _OracleDb(), "cx_Oracle": _CxOracle()}
