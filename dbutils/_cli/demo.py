"""A demonstration: more threads than connections, and some of these are cut.

Threads use a database through a pool that has fewer connections than there are
threads, one of which is cut again and again.  In turns with that, the same
threads open a new connection for each request.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Callable

from .. import __version__
from .._base.atomic import Count
from .._core.stats import Timings
from .._drivers.registry import driver_named
from .._manager.config import kind_of
from .._manager.connector import Connector
from ..performance_optimized_pooled_db import PerformanceOptimizedPooledDB
from .database import config_of, text_of
from .terminal import Screen, complain, say, show_table, tell

__all__ = ["demonstrate"]

_THREADS = 32
_CONNECTIONS = 8
_PAGES = 100
_OTHERS = 50
# How often either way of working has its turn.
_TURNS = 4
# In seconds: the time between two reports, and between two cuts.
_LOOK = 0.2
_CUT = 0.1
# The number of requests of which one writes.
_WRITES = 20


class _Shop:
    """An embedded database that counts the visits to pages.

    As in any program, there are other tables, too, of which each new
    connection has to learn first.
    """

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._path = str(folder / "shop.db")
        with closing(self.open()) as con:
            con.execute("pragma journal_mode = wal")
            con.execute("create table pages (id integer primary key, visits)")
            for number in range(_OTHERS):
                con.execute(
                    f"create table other_{number} (id integer primary key,"
                    " name text not null, price real, amount integer)")
            con.executemany(
                "insert into pages values (?, 0)",
                ((page,) for page in range(_PAGES)))
            con.commit()

    def open(self) -> sqlite3.Connection:
        """Open a connection."""
        con = sqlite3.connect(
            self._path, timeout=30, check_same_thread=False)
        con.execute("pragma synchronous = off")
        return con

    def work(self, con: Any) -> None:
        """Serve a request with a connection."""
        page = random.randrange(_PAGES)  # noqa: S311 - no secret
        with closing(con.cursor()) as cursor:
            if random.random() * _WRITES >= 1:  # noqa: S311 - no secret
                cursor.execute(
                    "select visits from pages where id = ?", (page,))
                cursor.fetchone()
                return
            cursor.execute(
                "update pages set visits = visits + 1 where id = ?", (page,))
        con.commit()


class _Server:
    """A database of somebody, in which nothing is changed."""

    def __init__(self, uri: str) -> None:
        config = config_of(uri)
        self.open = Connector(config)
        self.name = self.open.driver
        self._question = driver_named(
            kind_of(config), config.driver)[0].question
        self.open().close()

    def work(self, con: Any) -> None:
        """Ask the question that costs the server least."""
        with closing(con.cursor()) as cursor:
            cursor.execute(self._question)
            cursor.fetchall()


class _Crowd:
    """Threads that serve requests in one of the ways."""

    def __init__(
            self, open_one: Callable[[], Any],
            work: Callable[[Any], None]) -> None:
        self._open, self._work = open_one, work
        self.requests, self.errors = Timings(), Count()
        # The requests per second of each turn.
        self.rates: list[float] = []
        self._end = threading.Event()

    @property
    def rate(self) -> float:
        """The number of requests per second, in the middle of all turns."""
        return median(self.rates)

    def _serve(self) -> None:
        """Serve requests until the end of the turn."""
        while not self._end.is_set():
            start = monotonic()
            try:
                with closing(self._open()) as con:
                    self._work(con)
            except Exception:  # noqa: BLE001 - it is counted
                self.errors.step()
            else:
                self.requests.add(monotonic() - start)

    def take_turn(self, seconds: float, look: Callable[[], None]) -> None:
        """Serve requests for some time.

        look: is called from time to time
        """
        threads = [
            threading.Thread(target=self._serve, daemon=True)
            for _ in range(_THREADS)]
        before, start = self.requests.number, monotonic()
        for thread in threads:
            thread.start()
        try:
            while monotonic() - start < seconds:
                look()
                self._end.wait(_LOOK)
        finally:
            self._end.set()
            for thread in threads:
                thread.join()
            self._end.clear()
        self.rates.append(
            (self.requests.number - before) / (monotonic() - start))


class _Cutter(threading.Thread):
    """Cuts a connection now and then, as a server or a network would."""

    def __init__(self, pool: Any) -> None:
        super().__init__(daemon=True)
        self._pool = pool
        self.number = 0
        self.end = threading.Event()

    def run(self) -> None:
        """Cut connections until the end."""
        while not self.end.wait(_CUT):
            with self._pool.connection() as con:
                con.dbapi_connection.close()
                self.number += 1


def demonstrate(uri: str = "", seconds: float = 10) -> int:
    """Show what a pool does, and return the exit status.

    uri: a database to be used instead of an embedded one
    seconds: the duration of the demonstration
    """
    with TemporaryDirectory() as folder:
        try:
            database = _Server(uri) if uri else _Shop(Path(folder))
        except Exception as error:  # noqa: BLE001 - told in one line
            complain(text_of(error, uri))
            return 2
        return _compare(database, seconds)


def _compare(database: Any, seconds: float) -> int:
    """Serve requests in both ways by turns.  Return the exit status."""
    tell(
        f"DBUtils {__version__}: {_THREADS} threads use {database.name}"
        f" through a pool of {_CONNECTIONS} connections, one of which is cut"
        f" {1 / _CUT:.0f} times a second, and in turns with that by a new"
        " connection for each request. Ctrl-C ends it.")
    pool = PerformanceOptimizedPooledDB(
        database.open, maxconnections=_CONNECTIONS, blocking=True)
    with_pool = _Crowd(pool.connection, database.work)
    without = _Crowd(database.open, database.work)
    cutter, screen, start = _Cutter(pool), Screen(), monotonic()

    def look() -> None:
        _show_progress(
            screen, monotonic() - start, with_pool, without, cutter.number)

    cutter.start()
    try:
        for _ in range(_TURNS):
            for crowd in with_pool, without:
                crowd.take_turn(seconds / _TURNS / 2, look)
    finally:
        cutter.end.set()
        cutter.join()
    report = pool.performance_report()
    pool.shutdown()
    _sum_up(with_pool, without, cutter.number, report)
    say()
    if without.rate:
        tell(
            f"The pool has served {with_pool.rate / without.rate:.1f} times as"
            " many requests per second.")
    return 1 if with_pool.errors.read() else 0


def _show_progress(
        screen: Screen, passed: float, with_pool: _Crowd, without: _Crowd,
        cuts: int) -> None:
    """Show the present numbers.

    passed: the seconds since the start
    """
    requests, errors = with_pool.requests, with_pool.errors.read()
    screen.show((
        ("seconds", f"{passed:.1f}"),
        ("requests with the pool", requests.number),
        ("requests without", without.requests.number),
        ("connections of the pool cut", cuts),
        ("errors seen by the program", errors)), (
        f"{passed:4.1f} s: {requests.number} requests with the pool,"
        f" {without.requests.number} without, {cuts} connections cut,"
        f" {errors} errors"))


def _sum_up(
        with_pool: _Crowd, without: _Crowd, cuts: int,
        report: dict[str, Any]) -> None:
    ways = with_pool, without
    show_table(
        "Results", (
            ("requests", *(way.requests.number for way in ways)),
            ("requests per second", *(f"{way.rate:.0f}" for way in ways)),
            ("milliseconds per request",
             *(f"{way.requests.mean * 1000:.2f}" for way in ways)),
            ("connections cut and replaced", cuts, ""),
            ("connections opened", report["connection_creation_time"]["count"],
             without.requests.number),
            ("waits for a connection", report["waits"], ""),
            ("errors seen by the program",
             *(way.errors.read() for way in ways))),
        ("", "with the pool", "without"))
