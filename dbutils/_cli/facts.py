"""What a server tells about itself, as far as it matters for pools."""

from __future__ import annotations

import math
from typing import Any, Mapping, NamedTuple

from .._base.errors import quietly

__all__ = ["Facts", "ask_server"]

# Which part of a server's connections is left to deployments, in which there
# are the old processes and the new ones, to administrators and other programs.
_RESERVE = 0.2
# The questions for each kind of database.  The last column of the first row
# is the answer; what a server does not understand stays unknown.
_SETTING = "select setting from pg_settings where name = '{}'"
_QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "postgresql": {
        "version": _SETTING.format("server_version"),
        "limit": _SETTING.format("max_connections"),
        "reserved": _SETTING.format("superuser_reserved_connections"),
        "in_use": (
            "select count(*) - 1 from pg_stat_activity"
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
        # which only privileged users are told
        "processors": (
            "select count(*) from pg_ls_dir('/sys/devices/system/cpu') as file"
            " where file ~ '^cpu[0-9]+$'"),
        "session": "select pg_backend_pid()"},
    "mysql": {
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
        "session": "select connection_id()"},
    "sqlite": {
        "version": "select sqlite_version()",
        "journal": "pragma journal_mode",
        "file": "pragma database_list"},
    "oracle": {
        "version": "select banner from v$version",
        "processors": (
            "select value from v$parameter where name = 'cpu_count'")},
    "sqlserver": {
        "version": "select serverproperty('productversion')",
        "limit": "select @@max_connections",
        "processors": "select cpu_count from sys.dm_os_sys_info"},
}


class Facts(NamedTuple):
    """What is known about a server; None means unknown, or no limit."""

    version: str | None = None
    # How many connections there may be, and how many others have.
    limit: int | None = None
    in_use: int | None = None
    processors: int | None = None
    # After how many seconds the server ends idle sessions, and those that
    # are idle in a transaction.
    idle_timeout: float | None = None
    transaction_timeout: float | None = None
    isolation: str | None = None
    is_read_only: bool | None = None
    is_encrypted: bool | None = None
    # Whether something stands between us and the server, and whether a
    # session there lasts only for a transaction.
    is_behind_proxy: bool | None = None
    is_shared_by_transaction: bool | None = None
    # The journal of SQLite, and whether there is a file.
    journal: str | None = None
    is_in_memory: bool | None = None

    @property
    def free(self) -> int | None:
        """How many of these we should have, so that others have some, too."""
        if self.limit is None or self.room is None:
            return None
        return max(self.room - math.ceil(self.limit * _RESERVE), 0)

    @property
    def most_at_work(self) -> int | None:
        """How many connections at work make the server faster, about."""
        return None if self.processors is None else 2 * self.processors + 1

    @property
    def room(self) -> int | None:
        """How many connections are left for us."""
        if self.limit is None:
            return None
        return max(self.limit - (self.in_use or 0), 0)


def _answer(con: Any, question: str) -> Any:
    """Return the answer of a server, None if there is none."""
    with quietly("asking a server about itself"):
        cursor = con.cursor()
        try:
            cursor.execute(question)
            rows = cursor.fetchall()
        finally:
            cursor.close()
        return rows[0][-1] if rows else None
    with quietly("going on after a question that was not understood"):
        con.rollback()
    return None


def ask_server(kind: str, cons: Any, port: int | None) -> Facts:
    """Return what is known about a server.

    cons: two connections at the same time
    port: where we believe it to be
    """
    said = {
        name: _answer(cons[0], question)
        for name, question in _QUESTIONS[kind].items()}
    sessions = _sessions(cons, _QUESTIONS[kind].get("session"))
    its_port = said.get("port")
    file = said.get("file")
    return Facts(
        version=_text(said.get("version")),
        limit=_limit_of(said),
        in_use=_others(said.get("in_use"), kind),
        processors=_whole(said.get("processors")),
        idle_timeout=_positive(said.get("idle_timeout")),
        transaction_timeout=_positive(said.get("transaction_timeout")),
        isolation=_text(
            said.get("isolation") or said.get("old_isolation")),
        is_read_only=_flag(said.get("read_only")),
        is_encrypted=_flag(said.get("encrypted")),
        is_behind_proxy=None if its_port is None or port is None else (
            int(its_port) != port),
        is_shared_by_transaction=sessions,
        journal=_text(said.get("journal")),
        is_in_memory=None if "file" not in said else not file)


def _limit_of(said: Mapping[str, Any]) -> int | None:
    """Return how many connections we may have with those of others."""
    limits = [
        limit for limit in map(
            _positive, (said.get("limit"), said.get("own_limit")))
        if limit is not None]
    reserved = _positive(said.get("reserved")) or 0
    return int(min(limits) - reserved) if limits else None


def _others(in_use: Any, kind: str) -> int | None:
    """Return how many connections others have, without our own two."""
    if in_use is None:
        return None
    own = 1 if kind == "postgresql" else 2  # which does not count this one
    return max(int(in_use) - own, 0)


def _sessions(cons: Any, question: str | None) -> bool | None:
    """Tell whether transactions of a connection meet several sessions.

    Between two of them, the other connection takes the session if it can.
    """
    if question is None:
        return None
    seen = set()
    for _ in range(3):
        seen.add(_answer(cons[0], question))
        cons[0].rollback()
        _answer(cons[1], question)
        seen.add(_answer(cons[0], question))
        cons[1].rollback()
        cons[0].rollback()
    return len(seen) > 1


def _text(value: Any) -> str | None:
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode()
    return None if value is None else str(value)


def _positive(value: Any) -> float | None:
    """Return a number, None if there is none or if it stands for that."""
    number = None if value is None else float(value)
    return number if number is not None and number > 0 else None


def _whole(value: Any) -> int | None:
    number = _positive(value)
    return None if number is None else int(number)


def _flag(value: Any) -> bool | None:
    if value is None:
        return None
    text = str(_text(value)).lower()
    return text not in {"", "0", "f", "false", "off", "none"}
