"""A demonstration: threads use a database whose connections are cut.

Sixteen threads use a pool of connections to an embedded database.  One of the
connections is cut again and again.  After that, the threads do the same work
with a new connection for each request.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Callable

from .. import __version__
from .._base.atomic import Count
from .._core.stats import Timings
from ..performance_optimized_pooled_db import PerformanceOptimizedPooledDB
from .terminal import Screen, complain, say, show_table

__all__ = ["demonstrate"]

_THREADS = 16
_CONNECTIONS = 16
_PAGES = 100
# In seconds: the time between two reports, and between two cuts.
_LOOK = 0.2
_CUT = 0.1
# The number of requests of which one writes.
_WRITES = 20


class _Shop:
    """A database that counts the visits to pages, and its clients."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.requests = Timings()
        self.errors = Count()
        self.end = threading.Event()
        with closing(self.open()) as con:
            con.execute("pragma journal_mode = wal")
            con.execute("create table pages (id integer primary key, visits)")
            con.executemany(
                "insert into pages values (?, 0)",
                ((page,) for page in range(_PAGES)))
            con.commit()

    def open(self) -> sqlite3.Connection:
        """Open a connection."""
        con = sqlite3.connect(
            self.path, timeout=30, check_same_thread=False)
        con.execute("pragma synchronous = off")
        return con

    def serve(self, use: Callable[[Callable[[Any], None]], None]) -> None:
        """Serve requests until the end.

        use: calls a function with a connection
        """
        rng = random.Random()  # noqa: S311 - no secret
        while not self.end.is_set():
            start = monotonic()
            page = rng.randrange(_PAGES)
            work = _write if rng.random() * _WRITES < 1 else _read
            try:
                use(partial(work, page))
            except Exception:  # noqa: BLE001 - it is counted
                self.errors.step()
            else:
                self.requests.add(monotonic() - start)

    def run(
            self, use: Callable[[Any], None], seconds: float,
            look: Callable[[float], None]) -> float:
        """Serve requests in threads.  Return their number per second.

        seconds: the duration
        look: is called from time to time with the seconds that have passed
        """
        threads = [
            threading.Thread(target=self.serve, args=(use,), daemon=True)
            for _ in range(_THREADS)]
        start = monotonic()
        for thread in threads:
            thread.start()
        try:
            passed = 0.0
            while passed < seconds:
                look(passed)
                self.end.wait(_LOOK)
                passed = monotonic() - start
        finally:
            self.end.set()
            for thread in threads:
                thread.join()
            self.end.clear()
        return self.requests.number / (monotonic() - start)


def _read(page: int, con: Any) -> None:
    with closing(con.cursor()) as cursor:
        cursor.execute("select visits from pages where id = ?", (page,))
        cursor.fetchone()


def _write(page: int, con: Any) -> None:
    with closing(con.cursor()) as cursor:
        cursor.execute(
            "update pages set visits = visits + 1 where id = ?", (page,))
    con.commit()


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


def demonstrate(seconds: float = 10) -> int:
    """Show what a pool does, and return the exit status.

    seconds: the duration of the demonstration
    """
    say(f"DBUtils {__version__}: {_THREADS} threads use SQLite through a"
          f" pool of {_CONNECTIONS} connections, one of which is cut"
          f" {1 / _CUT:.0f} times a second. Ctrl-C ends it.")
    try:
        with TemporaryDirectory() as folder:
            return _compare(Path(folder), seconds)
    except KeyboardInterrupt:
        complain("\nThat was the end.")
        return 130


def _compare(folder: Path, seconds: float) -> int:
    """Do the work with a pool, then without one.  Return the exit status."""
    with_pool, without = _Shop(folder / "one.db"), _Shop(folder / "two.db")
    pool = PerformanceOptimizedPooledDB(
        with_pool.open, maxconnections=_CONNECTIONS, blocking=True)
    cutter = _Cutter(pool)
    cutter.start()
    try:
        rate = with_pool.run(
            partial(_use, pool.connection), seconds * 0.7,
            partial(_show_progress, Screen(), with_pool, cutter))
    finally:
        cutter.end.set()
        cutter.join()
    report = pool.performance_report()
    pool.shutdown()
    say("\nNow with a new connection for each request ...")
    other = without.run(
        partial(_use, without.open), seconds * 0.3, lambda _: None)
    _sum_up(with_pool, without, cutter.number, report)
    say(f"\nThe pool has served {rate / other:.1f} times as many requests per"
          " second.")
    return 1 if with_pool.errors.read() else 0


def _use(connect: Callable[[], Any], work: Callable[[Any], None]) -> None:
    with closing(connect()) as con:
        work(con)


def _show_progress(
        screen: Screen, shop: _Shop, cutter: _Cutter, passed: float) -> None:
    """Show the present numbers.

    passed: the seconds since the start
    """
    requests, errors = shop.requests, shop.errors.read()
    screen.show((
        ("seconds", f"{passed:.1f}"),
        ("requests", requests.number),
        ("milliseconds per request", f"{requests.mean * 1000:.2f}"),
        ("connections cut", cutter.number),
        ("errors seen by the program", errors)), (
        f"{passed:4.1f} s: {requests.number} requests,"
        f" {cutter.number} connections cut, {errors} errors"))


def _sum_up(
        with_pool: _Shop, without: _Shop, cuts: int,
        report: dict[str, Any]) -> None:
    show_table(
        "Results", (
            ("requests", with_pool.requests.number, without.requests.number),
            ("milliseconds per request",
             f"{with_pool.requests.mean * 1000:.2f}",
             f"{without.requests.mean * 1000:.2f}"),
            ("connections cut and replaced", cuts, ""),
            ("connections opened", report["connection_creation_time"]["count"],
             without.requests.number),
            ("waits for a connection", report["waits"], ""),
            ("errors seen by the program", with_pool.errors.read(),
             without.errors.read())), ("", "with the pool", "without"))
