"""A first job for a pool, on an embedded SQLite database.

Several threads share a few connections, count to a thousand together, and
do not notice that connections are cut on the way.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter

from . import __version__
from .pooled_db import PooledDB

THREADS = 8
CONNECTIONS = 3
STEPS = 125
CUT_EVERY = 50


def main() -> int:
    """Do the job, and say how it went; return the exit status."""
    print(f"DBUtils {__version__}: {THREADS} threads count to"
          f" {THREADS * STEPS} on {CONNECTIONS} connections to SQLite.")
    begun = perf_counter()
    with TemporaryDirectory() as folder:
        count, cuts = run(Path(folder) / "first_job.db")
    seconds = perf_counter() - begun
    print(f"Counted to {count} in {seconds:.2f} seconds;"
          f" {cuts} connections were cut and replaced.")
    return 0 if count == THREADS * STEPS else 1


def run(path: Path) -> tuple[int, int]:
    """Return how far the threads counted, and the connections cut."""
    pool = PooledDB(
        sqlite3, maxconnections=CONNECTIONS, blocking=True,
        setsession=["pragma synchronous = off"], ping="select 1",
        database=str(path), check_same_thread=False)
    with pool.connection() as db, closing(db.cursor()) as cursor:
        cursor.execute("create table counter (value integer)")
        cursor.execute("insert into counter values (0)")
        db.commit()
    cuts: list[int] = []
    threads = [Thread(target=count, args=(pool, cuts)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pool.connection() as db, closing(db.cursor()) as cursor:
        cursor.execute("select value from counter")
        value = cursor.fetchone()[0]
    pool.close()
    return value, len(cuts)


def count(pool: PooledDB, cuts: list[int]) -> None:
    """Count one step at a time, each in a transaction of its own."""
    for step in range(STEPS):
        with pool.connection() as db:
            db.begin()
            with closing(db.cursor()) as cursor:
                cursor.execute("update counter set value = value + 1")
            db.commit()
            if step % CUT_EVERY == CUT_EVERY - 1:
                db.dbapi_connection.close()  # as if it had been lost
                cuts.append(step)


if __name__ == "__main__":
    sys.exit(main())
