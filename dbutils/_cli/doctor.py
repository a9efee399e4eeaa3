"""An examination of a database: how fast it is, and what pools it can bear."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from contextlib import ExitStack, closing
from dataclasses import replace
from getpass import getpass
from statistics import median
from time import monotonic
from typing import Any, Callable, NamedTuple, Sequence

from .._drivers.driver import profile_of
from .._drivers.outages import is_refusal
from .._manager.connector import Connector
from ..pool_manager import ConnectionConfig
from ..pooled_db import PooledDB
from .facts import Facts, ask_server
from .terminal import bars, complain, say, show_table

__all__ = ["diagnose"]

# How often times are measured, and for how many seconds a load lasts.
_CONNECTS = 5
_TRIPS = 100
_LOAD = 0.7
_LARGEST = 64
_PORTS = {"postgresql": 5432, "mysql": 3306}
_PASSWORDS = {"postgresql": "PGPASSWORD", "mysql": "MYSQL_PWD"}
_LOCAL = {"localhost", "127.0.0.1", "::1"}
# A larger pool than the first is worth it if that does less of the best.
_ENOUGH = 0.9
# In seconds: what is a short time-out, and a slow connect.
_SHORT = 1800
_SLOW = 0.1

_PACKAGES = {
    "postgresql": "psycopg2-binary", "mysql": "PyMySQL",
    "oracle": "oracledb", "sqlserver": "pyodbc"}


class _Load(NamedTuple):
    """What a pool of some size has done."""

    size: int
    throughput: float  # statements a second
    p99: float  # seconds until the slowest of a hundred is done
    errors: int


class _Case(NamedTuple):
    """All that was found out."""

    config: ConnectionConfig
    driver: str
    processes: int
    threads: int
    facts: Facts
    connect: float
    ping: float
    trip: float
    loads: list[_Load]
    is_password_shown: bool = False


class _Advice(NamedTuple):
    """What follows from that."""

    options: dict[str, Any]
    total: int
    warnings: list[str]
    hints: list[str]


def diagnose(arguments: Any) -> int:
    """Examine a database, and say what to do; return the exit status."""
    uri = arguments.uri or os.environ.get("DATABASE_URL", "")
    kind = uri or os.environ.get("DB_URL", os.environ.get("DB_TYPE", ""))
    if not kind:
        arguments.refuse("there is no URI, neither here nor in DATABASE_URL")
    try:
        case = _case_of(arguments, _config_of(uri))
    except Exception as error:  # noqa: BLE001 - told in one line
        complain(_told(error, kind))
        return 2
    advice = _advise(case)
    if arguments.json:
        say(json.dumps(_as_data(case, advice), indent=2))
    else:
        _show(case, advice)
    return 1 if advice.warnings else 0


def _config_of(uri: str) -> ConnectionConfig:
    """Return the settings, with a password from its usual place."""
    config = (
        ConnectionConfig.from_url(uri) if uri else ConnectionConfig.from_env())
    usual = _PASSWORDS.get(config.db_type.value, "DB_PASSWORD")
    password = os.environ.get(usual) or os.environ.get("DB_PASSWORD")
    if config.password is None and password:
        return replace(config, password=password)
    return config


def _case_of(arguments: Any, config: ConnectionConfig) -> _Case:
    """Examine a database, and ask for the password if one is missing."""
    processes, threads = arguments.processes, arguments.threads
    is_shown = bool(arguments.uri) and (
        ConnectionConfig.from_url(arguments.uri).password is not None)
    if arguments.password:
        config = replace(config, password=getpass())
    try:
        case = _examine(config, processes, threads)
    except Exception as error:
        if config.password is not None or not is_refusal(error) or not (
                sys.stdin.isatty()):
            raise
        config = replace(config, password=getpass())
        case = _examine(config, processes, threads)
    return case._replace(is_password_shown=is_shown)


def _told(error: Exception, uri: str) -> str:
    """Return one line about what went wrong, and what to do."""
    said = [part for part in error.args if isinstance(part, str)]
    lines = (said[-1] if said else str(error)).strip().splitlines() or [
        type(error).__name__]
    text = lines[0].rstrip(".")
    if isinstance(error, ImportError):
        kind = uri.partition(":")[0].partition("+")[0]
        package = _PACKAGES.get(kind, _PACKAGES["postgresql"])
        return f"{text}. Install one, like: pip install {package}"
    if isinstance(error, ValueError):
        return f"{text}."
    return (
        f"The database cannot be used: {text}. Check that the server runs,"
        " and the host, port, user, password and database in the URI.")


# What is found out.

def _examine(
        config: ConnectionConfig, processes: int, threads: int) -> _Case:
    connector = Connector(config)
    complain("Connecting ...")
    connect = median(_seconds(
        lambda: connector().close()) for _ in range(_CONNECTS))
    kind = config.db_type.value
    with closing(connector()) as one, closing(connector()) as two:
        question = profile_of(one).question
        trip = _trip(one, question)
        facts = ask_server(kind, (one, two), config.port or _PORTS.get(kind))
    if facts.processors is None and _is_here(config, facts):
        facts = facts._replace(processors=os.cpu_count())
    return _Case(
        config, connector.driver, processes, threads, facts, connect,
        _ping(connector), trip, _put_loads(
            connector, question, _sizes(threads, facts), threads))


def _is_here(config: ConnectionConfig, facts: Facts) -> bool:
    """Return whether the server runs on the same machine, as it seems."""
    host = config.host
    return not facts.is_behind_proxy and (
        host is None or host in _LOCAL or host.startswith("/"))


def _seconds(function: Callable[[], Any]) -> float:
    start = monotonic()
    function()
    return monotonic() - start


def _trip(con: Any, question: str) -> float:
    """Return how long a statement takes that does nothing."""
    with closing(con.cursor()) as cursor:
        def ask() -> None:
            cursor.execute(question)
            cursor.fetchall()
        return median(_seconds(ask) for _ in range(_TRIPS))


def _ping(connector: Connector) -> float:
    """Return how long it takes to be lent a connection and give it back."""
    with PooledDB(connector, maxconnections=1) as pool:
        return median(_seconds(
            lambda: pool.connection().close()) for _ in range(_TRIPS))


def _sizes(threads: int, facts: Facts) -> list[int]:
    """Return the sizes of the pools that are tried."""
    room = facts.room
    largest = min(
        threads, _LARGEST, _LARGEST if room is None else max(room // 2, 1))
    sizes = [1 << power for power in range(7) if 1 << power < largest]
    return [*sizes, largest]


def _put_loads(
        connector: Connector, question: str, sizes: Sequence[int],
        threads: int) -> list[_Load]:
    loads = []
    for size in sizes:
        complain(f"Measuring a pool of {size} with {threads} threads ...")
        loads.append(_put_load(connector, question, size, threads))
    return loads


def _put_load(
        connector: Connector, question: str, size: int,
        threads: int) -> _Load:
    """Let threads use a pool, each as often as it can."""
    times: list[list[float]] = []
    errors: list[Exception] = []
    with PooledDB(
            connector, size, size, maxconnections=size,
            blocking=True) as pool:
        end = monotonic() + _LOAD

        def work() -> None:
            mine: list[float] = []
            while not (mine or errors) or monotonic() < end:
                try:
                    mine.append(_seconds(lambda: _use(pool, question)))
                except Exception as error:  # noqa: BLE001 - they are counted
                    errors.append(error)
            times.append(mine)

        workers = [
            threading.Thread(target=work, daemon=True)
            for _ in range(threads)]
        seconds = _seconds(lambda: _run(workers))
    sorted_times = sorted(time for mine in times for time in mine)
    worst = sorted_times[int(0.99 * len(sorted_times))] if sorted_times else (
        math.inf)
    return _Load(size, len(sorted_times) / seconds, worst, len(errors))


def _run(workers: Sequence[threading.Thread]) -> None:
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _use(pool: Any, question: str) -> None:
    with ExitStack() as stack:
        con = stack.enter_context(pool.connection())
        cursor = stack.enter_context(closing(con.cursor()))
        cursor.execute(question)
        cursor.fetchall()


# What follows.

def _advise(case: _Case) -> _Advice:
    """Say which options to take, and what will hurt."""
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
    return _Advice(options, size * case.processes, warnings, hints)


def _wanted_size(case: _Case) -> int:
    """Return the size at the knee, or what the server's processors can do."""
    size, most = _knee(case.loads), case.facts.most_at_work
    return size if most is None else max(min(size, most // case.processes), 1)


def _knee(loads: Sequence[_Load]) -> int:
    """Return the size beyond which the throughput rises much less.

    There it is farthest above the line that rises alike with each doubling
    from the smallest to the largest size.
    """
    best = max(loads, key=lambda load: load.throughput)
    first, last = loads[0], loads[-1]
    if first.throughput >= _ENOUGH * best.throughput:
        return first.size
    doublings = math.log2(last.size / first.size)
    slope = (best.throughput - first.throughput) / doublings

    def gain(load: _Load) -> float:
        height = load.throughput - first.throughput
        return height - slope * math.log2(load.size / first.size)

    knee = max(loads, key=gain)
    return knee.size if gain(knee) > 0 else best.size


def _warn_of_limit(case: _Case, wanted: int, size: int) -> str | None:
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


def _warn_of_read_only(case: _Case, *_: int) -> str | None:
    return "The server takes no writes." if case.facts.is_read_only else None


def _warn_of_proxy(case: _Case, *_: int) -> str | None:
    return (
        "Each transaction can meet another session (a proxy like PgBouncer"
        " in transaction mode). Do not rely on SET, prepared statements,"
        " temporary tables or locks of a session."
        if case.facts.is_shared_by_transaction else None)


def _warn_of_errors(case: _Case, *_: int) -> str | None:
    errors = sum(load.errors for load in case.loads)
    return f"{errors} statements have failed under load." if errors else None


def _warn_of_encryption(case: _Case, *_: int) -> str | None:
    host = case.config.host
    is_far = host is not None and host not in _LOCAL and host[:1] != "/"
    return (
        f"What goes to {host} is not encrypted; see ssl=true."
        if is_far and case.facts.is_encrypted is False else None)


def _warn_of_memory(case: _Case, *_: int) -> str | None:
    return (
        "Each connection to a database in memory has its own data; use a"
        " file." if case.facts.is_in_memory else None)


_WARNINGS = (
    _warn_of_limit, _warn_of_read_only, _warn_of_proxy, _warn_of_errors,
    _warn_of_encryption, _warn_of_memory)


def _hint_at_idle_timeout(case: _Case) -> str | None:
    idle = case.facts.idle_timeout
    return (
        f"The server ends sessions that are idle for {idle:g} seconds;"
        " max_idle_time makes the pool faster than that."
        if idle is not None and idle <= _SHORT else None)


def _hint_at_transactions(case: _Case) -> str | None:
    return (
        "The server lets transactions be idle for ever; one that is"
        " forgotten keeps its locks. See idle_in_transaction_session_timeout."
        if case.config.db_type == "postgresql"
        and case.facts.transaction_timeout is None else None)


def _hint_at_isolation(case: _Case) -> str | None:
    isolation = (case.facts.isolation or "").upper().replace(" ", "-")
    return (
        f"With the isolation {isolation}, a transaction does not see what"
        " others have committed since it began. End it also after reading."
        if isolation in {"REPEATABLE-READ", "SERIALIZABLE"} else None)


def _hint_at_proxy(case: _Case) -> str | None:
    return (
        "The server has another port than the one in the URI: there is a"
        " proxy or a mapping in between, which may have time-outs of its own."
        if case.facts.is_behind_proxy else None)


def _hint_at_journal(case: _Case) -> str | None:
    journal = case.facts.journal
    return (
        f"With the journal mode {journal!r}, who reads and who writes wait"
        " for each other; see 'pragma journal_mode = wal'."
        if journal not in {None, "wal", "memory"} else None)


def _hint_at_processors(case: _Case) -> str | None:
    knee, most = _knee(case.loads), case.facts.most_at_work
    return (
        f"The {case.facts.processors} processors of the server suggest at most"
        f" {most} connections for all processes together, though a pool of"
        f" {knee} was faster with statements that do nothing."
        if most is not None and knee * case.processes > most else None)


def _hint_at_writers(case: _Case) -> str | None:
    return (
        "SQLite has one writer at a time. The others wait for it, 5 seconds"
        " by default, and then fail with 'database is locked'; more"
        " connections help only those who read. Keep transactions that write"
        " short, and begin them with 'begin immediate'."
        if case.config.db_type == "sqlite" and not case.facts.is_in_memory
        else None)


def _hint_at_password(case: _Case) -> str | None:
    return (
        "The password was on the command line, where others can see it in"
        " the list of processes; see DATABASE_URL, PGPASSWORD, MYSQL_PWD,"
        " DB_PASSWORD and --password." if case.is_password_shown else None)


def _hint_at_connects(case: _Case) -> str | None:
    return (
        f"Opening a connection takes {case.connect * 1000:.0f} ms; min_idle"
        " keeps some ready." if case.connect >= _SLOW else None)


_HINTS = (
    _hint_at_idle_timeout, _hint_at_transactions, _hint_at_isolation,
    _hint_at_proxy, _hint_at_journal, _hint_at_writers, _hint_at_connects,
    _hint_at_processors, _hint_at_password)


# What is shown.

def _as_data(case: _Case, advice: _Advice) -> dict[str, Any]:
    facts = {
        name: value for name, value in case.facts._asdict().items()
        if value is not None}
    return {
        "database": {
            "kind": case.config.db_type.value, "driver": case.driver,
            **facts},
        "milliseconds": {
            "connect": case.connect * 1000, "borrow": case.ping * 1000,
            "round_trip": case.trip * 1000},
        "processes": case.processes, "threads": case.threads,
        "load": [
            {**load._asdict(),
             "p99": load.p99 if math.isfinite(load.p99) else None}
            for load in case.loads],
        "recommended": advice.options,
        "connections_of_all_processes": advice.total,
        "warnings": advice.warnings, "hints": advice.hints}


def _show(case: _Case, advice: _Advice) -> None:
    data = _as_data(case, advice)
    show_table("The database", [
        (name.replace("_", " "), value)
        for name, value in data["database"].items()])
    show_table("Times", [
        (name.replace("_", " "), f"{value:.3f} ms")
        for name, value in data["milliseconds"].items()])
    show_table(
        f"Load by {case.threads} threads: statements a second, and how long"
        " 99 % of them took at most", _chart(case.loads),
        ("connections", "a second", "", "p99 in ms", ""))
    for heading, texts in (
            ("Warnings", advice.warnings), ("Hints", advice.hints)):
        if texts:
            say(f"\n{heading}\n")
            say("\n".join(f"* {text}" for text in texts))
    say(f"\nRecommended, with {advice.total} connections of all processes:")
    say(_code(advice))


def _chart(loads: Sequence[_Load]) -> list[Any]:
    """Return the throughput and the slowest statements by size, with bars."""
    return list(zip(
        [load.size for load in loads],
        [f"{load.throughput:,.0f}" for load in loads],
        bars([load.throughput for load in loads]),
        [f"{load.p99 * 1000:.2f}" for load in loads],
        bars([load.p99 for load in loads])))


def _code(advice: _Advice) -> str:
    options = ", ".join(
        f"{name}={value!r}" for name, value in advice.options.items())
    return f"""
import os
from dbutils.pool_manager import (
    ConnectionConfig, PoolConfig, get_pool_manager)

pool = get_pool_manager().get_pool(
    ConnectionConfig.from_url(os.environ["DATABASE_URL"]),
    PoolConfig({options}))"""
