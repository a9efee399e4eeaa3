"""An examination of a database: its speed, and the pools that suit it."""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import closing
from dataclasses import replace
from getpass import getpass
from statistics import median
from time import monotonic
from typing import Any, Callable, Sequence

from .._base.together import run_together
from .._drivers.outages import is_refusal
from .._drivers.registry import driver_named
from .._manager.config import kind_of
from .._manager.connector import Connector
from ..pool_manager import ConnectionConfig
from ..pooled_db import PooledDB
from .advice import LOCAL, Advice, Case, Load, advise
from .database import config_of, text_of
from .facts import Facts, ask_server
from .terminal import bars, complain, say, show_table, tell

__all__ = ["diagnose"]

# The number of measurements, the seconds of each load, and the largest pool.
_CONNECTS = 5
_TRIPS = 100
_LOAD = 0.7
_LARGEST = 64
_PORTS = {"postgresql": 5432, "mysql": 3306}


def diagnose(arguments: Any) -> int:
    """Examine a database and print advice.  Return the exit status."""
    uri = arguments.uri or os.environ.get("DATABASE_URL", "")
    kind = uri or os.environ.get("DB_URL", os.environ.get("DB_TYPE", ""))
    if not kind:
        arguments.refuse("no URI was given, and DATABASE_URL is not set")
    try:
        case = _case_of(arguments, config_of(uri))
    except Exception as error:  # noqa: BLE001 - told in one line
        complain(text_of(error, kind))
        return 2
    advice = advise(case)
    if arguments.json:
        say(json.dumps(_as_data(case, advice), indent=2))
    else:
        _show(case, advice)
        say(_code(advice, is_url=bool(uri)))
    return 1 if advice.warnings else 0


def _case_of(arguments: Any, config: ConnectionConfig) -> Case:
    """Examine a database, and ask for a missing password."""
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


# Examining.

def _examine(
        config: ConnectionConfig, processes: int, threads: int) -> Case:
    connector = Connector(config)
    complain("Connecting ...")
    connect = median(_seconds(
        lambda: connector().close()) for _ in range(_CONNECTS))
    kind = kind_of(config)
    with closing(connector()) as one, closing(connector()) as two:
        driver, _ = driver_named(kind, config.driver)
        question = driver.question
        trip = _trip(one, question)
        facts = ask_server(
            driver, (one, two), config.port or _PORTS.get(kind))
    if facts.processors is None and _is_here(config, facts):
        facts = facts._replace(processors=os.cpu_count())
    return Case(
        config, connector.driver, processes, threads, facts, connect,
        _ping(connector), trip, [
            _put_load(connector, question, size, threads)
            for size in _sizes(threads, facts)])


def _is_here(config: ConnectionConfig, facts: Facts) -> bool:
    """Return whether the server seems to run on this machine."""
    host = config.host
    return not facts.is_behind_proxy and (
        host is None or host in LOCAL or host.startswith("/"))


def _seconds(function: Callable[[], Any]) -> float:
    start = monotonic()
    function()
    return monotonic() - start


def _trip(con: Any, question: str) -> float:
    """Return the seconds that a statement takes that does nothing."""
    with closing(con.cursor()) as cursor:
        def ask() -> None:
            cursor.execute(question)
            cursor.fetchall()
        return median(_seconds(ask) for _ in range(_TRIPS))


def _ping(connector: Connector) -> float:
    """Return the seconds that it takes to borrow and release a connection."""
    with PooledDB(connector, maxconnections=1) as pool:
        return median(_seconds(
            lambda: pool.connection().close()) for _ in range(_TRIPS))


def _sizes(threads: int, facts: Facts) -> list[int]:
    """Return the sizes of pools to try."""
    room = facts.room
    largest = min(
        threads, _LARGEST, _LARGEST if room is None else max(room // 2, 1))
    sizes = [1 << power for power in range(7) if 1 << power < largest]
    return [*sizes, largest]


def _put_load(
        connector: Connector, question: str, size: int,
        threads: int) -> Load:
    """Measure a pool that threads use as often as they can."""
    complain(f"Measuring a pool of {size} with {threads} threads ...")
    times: list[list[float]] = []
    errors: list[Exception] = []
    with PooledDB(
            connector, size, size, maxconnections=size,
            blocking=True) as pool:
        end = monotonic() + _LOAD

        def work() -> None:
            own: list[float] = []
            while not (own or errors) or monotonic() < end:
                try:
                    own.append(_seconds(lambda: _use(pool, question)))
                except Exception as error:  # noqa: BLE001 - it is counted
                    errors.append(error)
            times.append(own)

        seconds = _seconds(lambda: run_together([work] * threads))
    sorted_times = sorted(time for own in times for time in own)
    worst = sorted_times[int(0.99 * len(sorted_times))] if sorted_times else (
        math.inf)
    return Load(size, len(sorted_times) / seconds, worst, len(errors))


def _use(pool: Any, question: str) -> None:
    with pool.connection() as con, closing(con.cursor()) as cursor:
        cursor.execute(question)
        cursor.fetchall()


# Showing.

def _as_data(case: Case, advice: Advice) -> dict[str, Any]:
    facts = {
        name: value for name, value in case.facts._asdict().items()
        if value is not None}
    return {
        "database": {
            "kind": kind_of(case.config), "driver": case.driver,
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


def _show(case: Case, advice: Advice) -> None:
    data = _as_data(case, advice)
    show_table("The database", [
        (name.replace("_", " "), value)
        for name, value in data["database"].items()])
    show_table("Times", [
        (name.replace("_", " "), f"{value:.3f} ms")
        for name, value in data["milliseconds"].items()])
    _show_chart(case.threads, case.loads)
    for heading, texts in (
            ("Warnings", advice.warnings), ("Hints", advice.hints)):
        if texts:
            say(f"\n{heading}\n")
            for text in texts:
                tell(text, "* ")
    noun = "connection" if advice.total == 1 else "connections"
    say(f"\nRecommended, with {advice.total} {noun} of all processes:")


def _show_chart(threads: int, loads: Sequence[Load]) -> None:
    show_table(
        f"Load by {threads} threads: statements per second, and the longest"
        " time of 99 % of them", _chart(loads),
        ("connections", "per second", "", "p99 in ms", ""))


def _chart(loads: Sequence[Load]) -> list[Any]:
    """Return rows with the throughput and the slowest statements by size."""
    return list(zip(
        [load.size for load in loads],
        [f"{load.throughput:,.0f}" for load in loads],
        bars([load.throughput for load in loads]),
        [f"{load.p99 * 1000:.2f}" for load in loads],
        bars([load.p99 for load in loads])))


def _code(advice: Advice, is_url: bool) -> str:
    """Return a program with the recommended pool.

    is_url: whether a URL names the database, and not several variables
    """
    options = ", ".join(
        f"{name}={value!r}" for name, value in advice.options.items())
    begin, config = (
        "import os\n", 'from_url(os.environ["DATABASE_URL"])') if is_url else (
        "", "from_env()")
    return f"""
{begin}from dbutils.pool_manager import (
    ConnectionConfig, PoolConfig, get_pool_manager)

pool = get_pool_manager().get_pool(
    ConnectionConfig.{config},
    PoolConfig({options}))"""
