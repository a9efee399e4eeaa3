"""Drivers for less usual databases, and for those without transactions."""

from __future__ import annotations

import re

from .._base.hints import Any
from .driver import LOST, DriverFacts

__all__ = ["DRIVERS"]


class _Vertica(DriverFacts):
    is_known = True
    transaction_name = "transaction_status"
    idle = ("no_transaction", 0)
    closed_name = "closed"
    socket_name = "socket.fileno"  # _socket() would connect again

    def is_loss(self, error: BaseException) -> bool | None:
        if type(error).__name__ in {
                "ConnectionError", "ConnectionFailure",
                "LostConnectivityFailure"}:
            return True
        return super().is_loss(error)


class _Trino(DriverFacts):
    def in_transaction(self, con: Any) -> bool | None:
        return getattr(con, "transaction", con) is not None


_LOSS = re.compile(
    "connection (?:was )?(?:lost|closed|reset|aborted|refused|broken)"
    "|broken pipe|gone away|closed the connection|remote end closed"
    "|connection error|max retries", re.IGNORECASE)


class _NoTransactions(DriverFacts):
    """A driver for a database without transactions.

    The library neither commits nor rolls back, and keeps no account.
    """

    has_transactions = False
    is_known = True

    def is_loss(self, error: BaseException) -> bool | None:
        lost = super().is_loss(error)
        return bool(_LOSS.search(str(error))) if lost is None else lost

    def is_transient(self, error: BaseException) -> bool:
        return False  # a repetition would do the earlier statements again


DRIVERS: dict[str, DriverFacts] = {
    "adbc_driver_manager": DriverFacts(
        closed_name="_closed", autocommit_name="_autocommit"),
    "clickhouse_connect": _NoTransactions(),
    "clickhouse_driver": _NoTransactions(closed_name="is_closed"),
    # reading "autocommit" would ask the server
    "databricks": DriverFacts(closed_name="!open"),
    "dmPython": DriverFacts(autocommit_name="autoCommit"),
    "google.cloud.bigquery": _NoTransactions(closed_name="_closed"),
    "google.cloud.spanner_dbapi": DriverFacts(
        closed_name="is_closed", autocommit_name="autocommit"),
    "hdbcli": DriverFacts(
        question="select 1 from dummy", closed_name="!isconnected",
        autocommit_name="getautocommit"),
    "jaydebeapi": DriverFacts(
        closed_name="jconn.isClosed", autocommit_name="jconn.getAutoCommit"),
    "pinotdb": _NoTransactions(),
    "pyathena": _NoTransactions(),
    "snowflake": DriverFacts(
        closed_name="is_closed", lost_codes=LOST | {
            250001, 250002, 250003, 390111, 390112, 390114, 390195}),
    "teradatasql": DriverFacts(autocommit_name="autocommit"),
    "trino": _Trino(),
    "vertica_python": _Vertica(),
}
