"""A pool with all that can be decided about connections and requests."""

import logging
import sqlite3

from dbutils.pooled_db import PooledDB

# What the library swallows because it changes nothing is told here at the
# level DEBUG, and leaks as warnings.
logging.basicConfig(level=logging.WARNING)

pool = PooledDB(
    sqlite3,
    mincached=2,  # opened at the start
    maxcached=5,  # idle at most
    maxconnections=10,  # in use at most
    maxwait=5,  # seconds that a request waits, then an error
    maxwaiting=100,  # requests that wait at the same time, then an error
    maxusage=10_000,  # statements until a connection is replaced
    maxlifetime=1800,  # seconds until it is replaced
    maxidletime=600,  # seconds until an idle one is closed
    keepalive=60,  # seconds until an idle one is asked whether it is alive
    refill=True,  # keep two ready in the background
    leakafter=300,  # seconds until a connection that is kept is reported
    setsession=["pragma foreign_keys = on"],  # for each new connection
    failover="safe",  # repeat only what cannot be lost or done twice
    database="configuration.db", check_same_thread=False, timeout=10)

with pool.transaction() as db:  # commits, or rolls back after an error
    db.cursor().execute(
        "create table if not exists items (name text, price integer)")


def raise_prices(db):
    """Do something that is repeated as a whole if it gets into a deadlock."""
    db.cursor().execute("update items set price = price + 1")


pool.run(raise_prices)

with pool.connection() as db, db.cursor() as cursor:
    cursor.execute("pragma foreign_keys")
    print("foreign keys:", cursor.fetchone()[0])

print("all came back:", pool.shutdown(timeout=5))
