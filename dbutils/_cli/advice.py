"""The advice of the doctor: options for pools, warnings and hints."""

from __future__ import annotations

import math
from typing import Any, Iterator, NamedTuple, Sequence

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
    wanted, most = _knee(case.loads), case.facts.most_at_work
    if most is not None:  # the processors of the server are busy then
        wanted = max(min(wanted, most // case.processes), 1)
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
    return Advice(
        options, size * case.processes, list(_warnings(case, wanted, size)),
        [*_hints_from_server(case), *_hints_from_work(case)])


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


def _warnings(case: Case, wanted: int, size: int) -> Iterator[str]:
    """Yield what will hurt."""
    facts, host = case.facts, case.config.host
    yield from _warnings_of_limit(case, wanted, size)
    if facts.is_read_only:
        yield "The server takes no writes."
    if facts.is_shared_by_transaction:
        yield (
            "Each transaction can meet another session (a proxy like"
            " PgBouncer in transaction mode). Do not rely on SET, prepared"
            " statements, temporary tables or locks of a session.")
    errors = sum(load.errors for load in case.loads)
    if errors:
        yield f"{errors} statements have failed under load."
    is_far = host is not None and host not in LOCAL and host[:1] != "/"
    if is_far and facts.is_encrypted is False:
        yield f"The traffic to {host} is not encrypted; see ssl=true."
    if facts.is_in_memory:
        yield (
            "Each connection to a database in memory has its own data; use a"
            " file.")


def _warnings_of_limit(case: Case, wanted: int, size: int) -> Iterator[str]:
    room, free = case.facts.room, case.facts.free
    total = size * case.processes
    if room is None or free is None or (size >= wanted and total <= free):
        return
    yield (
        f"{case.processes} processes with {wanted} connections each would be"
        f" {wanted * case.processes}, but the server has room for {room}, of"
        f" which {room - free} should be left to others" + (
            "; that is less than one for each process." if total > free
            else f"; therefore only {size} each are recommended."))


def _hints_from_server(case: Case) -> Iterator[str]:
    """Yield what is good to know about the server."""
    facts, kind = case.facts, case.config.db_type
    idle = facts.idle_timeout
    if idle is not None and idle <= _SHORT:
        yield (
            f"The server ends sessions that are idle for {idle:g} seconds;"
            " max_idle_time makes the pool faster than that.")
    if kind == "postgresql" and facts.transaction_timeout is None:
        yield (
            "The server never ends idle transactions; a forgotten one keeps"
            " its locks. See idle_in_transaction_session_timeout.")
    isolation = (facts.isolation or "").upper().replace(" ", "-")
    if isolation in {"REPEATABLE-READ", "SERIALIZABLE"}:
        yield (
            f"With the isolation {isolation}, a transaction does not see what"
            " others have committed since it began. End it also after"
            " reading.")
    if facts.is_behind_proxy:
        yield (
            "The server has another port than the one in the URI: there is a"
            " proxy or a mapping in between, which may have time-outs of its"
            " own.")
    if facts.journal not in {None, "wal", "memory"}:
        yield (
            f"With the journal mode {facts.journal!r}, readers and writers"
            " wait for each other; see 'pragma journal_mode = wal'.")
    if kind == "sqlite" and not facts.is_in_memory:
        yield (
            "SQLite has one writer at a time. The others wait for it, 5"
            " seconds by default, and then fail with 'database is locked';"
            " more connections help only readers. Keep transactions that"
            " write short, and begin them with 'begin immediate'.")


def _hints_from_work(case: Case) -> Iterator[str]:
    """Yield what is good to know about the use of the server."""
    knee, most = _knee(case.loads), case.facts.most_at_work
    if case.connect >= _SLOW:
        yield (
            f"Opening a connection takes {case.connect * 1000:.0f} ms;"
            " min_idle keeps some ready.")
    if most is not None and knee * case.processes > most:
        total = "" if case.processes == 1 else (
            f", which would be {knee * case.processes} for all processes")
        yield (
            f"The {case.facts.processors} processors of the server suggest at"
            f" most {most} connections for all processes together, though in"
            f" one process a pool of {knee} was faster with statements that"
            f" do nothing{total}.")
    if case.is_password_shown:
        yield (
            "The password was on the command line, where others can see it in"
            " the list of processes; see DATABASE_URL, PGPASSWORD, MYSQL_PWD,"
            " DB_PASSWORD and --password.")
