"""The advice of the doctor: options for pools, warnings and hints."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Sequence

from ..pool_manager import ConnectionConfig
from .facts import Facts

__all__ = ["LOCAL", "Advice", "Case", "Load", "advise"]

# The names of hosts that mean this machine.
LOCAL = {"localhost", "127.0.0.1", "::1"}
# The part of the best throughput with which the smallest pool is enough.
_ENOUGH = 0.9
# In seconds: a short time-out of the server, and a slow connect.
_SHORT = 1800
_SLOW = 0.1


class Load(NamedTuple):
    """The performance of a pool of some size."""

    size: int
    throughput: float  # statements per second
    p99: float  # the seconds that 99 % of the statements take at most
    errors: int


class Case(NamedTuple):
    """The results of an examination."""

    config: ConnectionConfig
    driver: str
    processes: int
    threads: int
    facts: Facts
    connect: float
    ping: float
    trip: float
    loads: list[Load]
    is_password_shown: bool = False


class Advice(NamedTuple):
    """The recommended options, and what else the user should know."""

    options: dict[str, Any]
    total: int
    warnings: list[str]
    hints: list[str]


def advise(case: Case) -> Advice:
    """Return the recommended options, with warnings and hints."""
    wanted = _wanted_size(case)
    size, free = wanted, case.facts.free
    if free is not None:
        size = max(min(size, free // case.processes), 1)
    options: dict[str, Any] = {
        "max_total": size, "max_wait_time": 10}
    if case.connect >= _SLOW:
        options["min_idle"] = max(size // 4, 1)
    idle = case.facts.idle_timeout
    if idle is not None and idle <= _SHORT:
        options["max_idle_time"] = max(int(idle * 0.8), 1)
    warnings = [
        text for rule in _WARNINGS for text in [rule(case, wanted, size)]
        if text]
    hints = [text for rule in _HINTS for text in [rule(case)] if text]
    return Advice(options, size * case.processes, warnings, hints)


def _wanted_size(case: Case) -> int:
    """Return the size at the knee, limited by the server's processors."""
    size, most = _knee(case.loads), case.facts.most_at_work
    return size if most is None else max(min(size, most // case.processes), 1)


def _knee(loads: Sequence[Load]) -> int:
    """Return the size beyond which the throughput rises much less.

    At the knee, the curve over the logarithm of the size is farthest above
    the straight line from its first point to the best throughput at its end.
    """
    best = max(loads, key=lambda load: load.throughput)
    first, last = loads[0], loads[-1]
    if first.throughput >= _ENOUGH * best.throughput:
        return first.size
    doublings = math.log2(last.size / first.size)
    slope = (best.throughput - first.throughput) / doublings

    def gain(load: Load) -> float:
        height = load.throughput - first.throughput
        return height - slope * math.log2(load.size / first.size)

    knee = max(loads, key=gain)
    return knee.size if gain(knee) > 0 else best.size


def _warn_of_limit(case: Case, wanted: int, size: int) -> str | None:
    room, free = case.facts.room, case.facts.free
    total = size * case.processes
    if room is None or free is None or (size >= wanted and total <= free):
        return None
    text = (
        f"{case.processes} processes with {wanted} connections each would be"
        f" {wanted * case.processes}, but the server has room for {room}, of"
        f" which {room - free} should be left to others")
    if total > free:
        return f"{text}; that is less than one for each process."
    return f"{text}; therefore only {size} each are recommended."


def _warn_of_read_only(case: Case, *_: int) -> str | None:
    return "The server takes no writes." if case.facts.is_read_only else None


def _warn_of_proxy(case: Case, *_: int) -> str | None:
    return (
        "Each transaction can meet another session (a proxy like PgBouncer"
        " in transaction mode). Do not rely on SET, prepared statements,"
        " temporary tables or locks of a session."
        if case.facts.is_shared_by_transaction else None)


def _warn_of_errors(case: Case, *_: int) -> str | None:
    errors = sum(load.errors for load in case.loads)
    return f"{errors} statements have failed under load." if errors else None


def _warn_of_encryption(case: Case, *_: int) -> str | None:
    host = case.config.host
    is_far = host is not None and host not in LOCAL and host[:1] != "/"
    return (
        f"The traffic to {host} is not encrypted; see ssl=true."
        if is_far and case.facts.is_encrypted is False else None)


def _warn_of_memory(case: Case, *_: int) -> str | None:
    return (
        "Each connection to a database in memory has its own data; use a"
        " file." if case.facts.is_in_memory else None)


_WARNINGS = (
    _warn_of_limit, _warn_of_read_only, _warn_of_proxy, _warn_of_errors,
    _warn_of_encryption, _warn_of_memory)


def _hint_at_idle_timeout(case: Case) -> str | None:
    idle = case.facts.idle_timeout
    return (
        f"The server ends sessions that are idle for {idle:g} seconds;"
        " max_idle_time makes the pool faster than that."
        if idle is not None and idle <= _SHORT else None)


def _hint_at_transactions(case: Case) -> str | None:
    return (
        "The server never ends idle transactions; a forgotten one keeps its"
        " locks. See idle_in_transaction_session_timeout."
        if case.config.db_type == "postgresql"
        and case.facts.transaction_timeout is None else None)


def _hint_at_isolation(case: Case) -> str | None:
    isolation = (case.facts.isolation or "").upper().replace(" ", "-")
    return (
        f"With the isolation {isolation}, a transaction does not see what"
        " others have committed since it began. End it also after reading."
        if isolation in {"REPEATABLE-READ", "SERIALIZABLE"} else None)


def _hint_at_proxy(case: Case) -> str | None:
    return (
        "The server has another port than the one in the URI: there is a"
        " proxy or a mapping in between, which may have time-outs of its own."
        if case.facts.is_behind_proxy else None)


def _hint_at_journal(case: Case) -> str | None:
    journal = case.facts.journal
    return (
        f"With the journal mode {journal!r}, readers and writers wait for"
        " each other; see 'pragma journal_mode = wal'."
        if journal not in {None, "wal", "memory"} else None)


def _hint_at_processors(case: Case) -> str | None:
    knee, most = _knee(case.loads), case.facts.most_at_work
    return (
        f"The {case.facts.processors} processors of the server suggest at most"
        f" {most} connections for all processes together, though a pool of"
        f" {knee} was faster with statements that do nothing."
        if most is not None and knee * case.processes > most else None)


def _hint_at_writers(case: Case) -> str | None:
    return (
        "SQLite has one writer at a time. The others wait for it, 5 seconds"
        " by default, and then fail with 'database is locked'; more"
        " connections help only readers. Keep transactions that write short,"
        " and begin them with 'begin immediate'."
        if case.config.db_type == "sqlite" and not case.facts.is_in_memory
        else None)


def _hint_at_password(case: Case) -> str | None:
    return (
        "The password was on the command line, where others can see it in"
        " the list of processes; see DATABASE_URL, PGPASSWORD, MYSQL_PWD,"
        " DB_PASSWORD and --password." if case.is_password_shown else None)


def _hint_at_connects(case: Case) -> str | None:
    return (
        f"Opening a connection takes {case.connect * 1000:.0f} ms; min_idle"
        " keeps some ready." if case.connect >= _SLOW else None)


_HINTS = (
    _hint_at_idle_timeout, _hint_at_transactions, _hint_at_isolation,
    _hint_at_proxy, _hint_at_journal, _hint_at_writers, _hint_at_connects,
    _hint_at_processors, _hint_at_password)
