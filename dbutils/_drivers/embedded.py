"""Drivers for databases in the same process."""

from __future__ import annotations

from collections.abc import Mapping

from .._base.errors import quietly
from .._base.hints import Any
from .arguments import ConnectArguments, accept_utf8
from .driver import MARKS, ExactDriver, in_transaction_of

__all__ = ["DRIVERS"]


class _Sqlite(ExactDriver):
    is_embedded = True
    settings = (
        "isolation_level", "row_factory", "text_factory", "autocommit")
    setters = dict.fromkeys((
        "create_aggregate", "create_collation", "create_function",
        "create_window_function", "deserialize", "enable_load_extension",
        "load_extension", "set_authorizer", "set_progress_handler",
        "set_trace_callback", "setconfig", "setlimit"), MARKS)
    transaction_name = "in_transaction"
    in_transaction = in_transaction_of

    def has_written(self, con: Any) -> bool | None:
        # without autocommit a transaction is always open
        is_always = getattr(con, "autocommit", None) is False
        return None if is_always else self.in_transaction(con)

    def is_closed(self, con: Any) -> bool | None:
        try:
            con.total_changes  # noqa: B018 - it raises an error when closed
        except Exception as error:  # noqa: BLE001 - of this module, or a fake
            return "closed" in str(error)
        return False

    def is_private(self, con: Any) -> bool:
        return _is_without_file(con, "pragma database_list", 2)

    module = "sqlite3"
    freed_cursor = "sqlite3.Cursor"
    # the only thing to wait for here is that others have written
    parameter_names: Mapping[str, str] = {
        "database": "database", "connection_timeout": "timeout"}
    server_questions: Mapping[str, str] = {
        "version": "select sqlite_version()",
        "journal": "pragma journal_mode",
        "file": "pragma database_list"}
    add_charset = accept_utf8

    def arguments_for(self, config: Any, dbapi: Any) -> ConnectArguments:
        if config.password is not None:
            self.refuse("password")
        if config.database is None:
            raise ValueError(
                "A SQLite database needs the name of a file. [DBU-17]")
        arguments = super().arguments_for(config, dbapi)
        arguments.parameters.setdefault("check_same_thread", False)
        return arguments

    def add_autocommit(self, arguments: ConnectArguments, value: bool) -> None:
        if value:
            arguments.parameters["isolation_level"] = None

    def add_ssl(self, arguments: ConnectArguments, config: Any) -> None:
        if config.ssl:
            self.refuse("ssl")


class _DuckDb(ExactDriver):
    is_embedded = is_own_cursor = True

    def is_private(self, con: Any) -> bool:
        return _is_without_file(
            con, "select path from duckdb_databases() where not internal", 0)


def _is_without_file(con: Any, sql: str, column: int) -> bool:
    """Return whether an embedded database is in memory only."""
    row = None
    with quietly("asking for the file of a database"):
        cursor = con.cursor()
        cursor.execute(sql)
        row = cursor.fetchone()
        cursor.close()
    return row is not None and not row[column]


DRIVERS = {
    **dict.fromkeys(
        ("sqlite3", "pysqlite3", "sqlcipher3", "turso"), _Sqlite()),
    **dict.fromkeys(("duckdb", "_duckdb"), _DuckDb()),
}
