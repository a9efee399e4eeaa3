"""What type checkers say about typical uses of the library.

This is no program: a test lets type checkers read it.  Behind each call of
reveal_type() stands the type, and behind each mistake the word "mistake".
"""

from __future__ import annotations

import sqlite3
from typing import Any

from dbutils import PersistentDB, get_pool_manager
from dbutils.dynamic_pooled_db import DynamicPooledDB
from dbutils.pooled_db import PooledDB, PooledDedicatedDBConnection

pool = PooledDB(sqlite3, mincached=1, maxconnections=5, database="a.db")
reveal_type(pool)  # PooledDB[Connection]
db = pool.connection()
reveal_type(db)  # PooledDedicatedDBConnection[Connection]
reveal_type(db.dbapi_connection)  # Connection
db = pool.dedicated_connection(maxwait=1)
reveal_type(db)  # PooledDedicatedDBConnection[Connection]
db.begin()
db.create_function("double", 1, lambda x: 2 * x)
db.isolation_level = None
db.comit()  # mistake
db.cursor().excute("select 1")  # mistake
db.commit(1)  # mistake
db.close()

with pool.connection() as db:
    cursor = db.cursor()
    reveal_type(cursor)  # SteadyDBCursor
    cursor.execute("select ?", (1,))
    reveal_type(cursor.rowcount)  # int
    for row in cursor:
        reveal_type(row)  # Any
    with db.cursor() as other:
        other.executescript("select 1")

with pool.transaction() as db:
    reveal_type(db)  # PooledDedicatedDBConnection[Connection]
    db.rolback()  # mistake


def count(db: PooledDedicatedDBConnection[sqlite3.Connection]) -> int:
    with db.cursor() as cursor:
        cursor.execute("select count(*) from t")
        return int(cursor.fetchone()[0])


reveal_type(pool.run(count))  # int
reveal_type(pool.run(lambda db: db.dbapi_connection))  # Connection
reveal_type(pool.stats().in_use)  # int

with PooledDB(lambda: sqlite3.connect("a.db"), 1) as of_function:
    reveal_type(of_function)  # PooledDB[Connection]

PooledDB(sqlite3, failover="never", isfatal=lambda error: True)
PooledDB(sqlite3, failover="sometimes")  # mistake
PooledDB(sqlite3, maxconnections="5")  # mistake
PooledDB(maxconnections=5)  # mistake
PooledDB("sqlite3")  # mistake
pool.connection(maxwait="1")  # mistake
pool.conection()  # mistake

dynamic = DynamicPooledDB(sqlite3, 1, database="a.db")
reveal_type(dynamic)  # DynamicPooledDB[Connection]
reveal_type(dynamic.connection())  # PooledDedicatedDBConnection[Connection]

persistent = PersistentDB(sqlite3, database="a.db")
reveal_type(persistent.connection())  # SteadyDBConnection
PersistentDB(sqlite3, failover="sometimes")  # mistake

manager = get_pool_manager()
reveal_type(manager.get_pool("sqlite:///a.db"))  # ManagedPool


def of_any(creator: Any) -> None:
    reveal_type(PooledDB(creator))  # PooledDB[Any]
