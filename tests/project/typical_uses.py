"""What type checkers say about typical uses of the library.

This is no program: a test lets type checkers read it.  Behind each call of
reveal_type() stands the type, and behind each mistake the word "mistake".
"""

from __future__ import annotations

import sqlite3
from typing import Any

from dbutils import (
    ConnectionPool,
    DBConnectionPoolManager,
    PersistentDB,
    PersistentPg,
    PooledPg,
    ResourceAllocationPooledDB,
    SimpleConnectionPool,
    SimplePooledDB,
    SimplePooledPg,
    SteadyDBConnection,
    SteadyPgConnection,
    ThreadedConnectionPool,
    connect,
    get_pool_manager,
)
from dbutils.dynamic_pooled_db import DynamicPooledDB
from dbutils.hosts import Targets
from dbutils.pool_manager import ConnectionConfig, DatabaseType
from dbutils.pooled_db import PooledDB, PooledDedicatedDBConnection
from dbutils.testing import ScriptedDriver

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
PooledDB(sqlite3, nested="warn", ondeadlock="raise")
PooledDB(sqlite3, nested="warm")  # mistake
PooledDB(sqlite3, ondeadlock="rise")  # mistake
PooledDB(sqlite3, reset="session", track="auto")
PooledDB(sqlite3, reset=lambda con: con.rollback(), track=True)
PooledDB(sqlite3, reset=0)
PooledDB(sqlite3, reset="sessions")  # mistake
PooledDB(sqlite3, track="yes")  # mistake
PooledDB(sqlite3, maxconnections="5")  # mistake
PooledDB("sqlite3")  # mistake
pool.connection(maxwait="1")  # mistake
read = pool.connection(target="prefer-standby", maxlag=5, after="1/2")
reveal_type(read)  # PooledDedicatedDBConnection[Connection]
reveal_type(read.position())  # str
pool.dedicated_connection(target="standby", maxlag=0.5)
pool.connection(target="replica")  # mistake
pool.dedicated_connection(after=5)  # mistake
with pool.transaction(target="prefer-standby", maxlag=5, after="1/2") as db:
    reveal_type(db)  # PooledDedicatedDBConnection[Connection]
reveal_type(pool.run(count, 5, target="any", maxlag=0.5, after="1/2"))  # int
pool.transaction(target="replica")  # mistake
pool.run(count, target="replica")  # mistake
pool.run(count, after=5)  # mistake
pool.conection()  # mistake

targets = Targets([{"database": "a.db"}], sqlite3)
reveal_type(PooledDB(targets=targets, maxconnections=5))  # PooledDB[Any]
of_hosts = PooledDB(sqlite3, targets=[{"database": "a.db"}])
reveal_type(of_hosts)  # PooledDB[Connection]
PooledDB(sqlite3, targets=5)  # mistake
Targets([{"database": "a.db"}], sqlite3, order="least", target="any")
Targets([{"database": "a.db"}], sqlite3, order="rand")  # mistake
Targets([{"database": "a.db"}], sqlite3, target="replica")  # mistake
PooledDB(sqlite3, behind="pooler")  # mistake

dynamic = DynamicPooledDB(sqlite3, 1, database="a.db")
reveal_type(dynamic)  # DynamicPooledDB[Connection]
reveal_type(dynamic.connection())  # PooledDedicatedDBConnection[Connection]

by_level = ResourceAllocationPooledDB(sqlite3, allocation_strategy="priority")
by_level.set_priority("high")
by_level.set_priority("higher")  # mistake
by_level.priority("highest")  # mistake
by_level.connection(priority=3, tag="report")
by_level.connection(priority="urgent")  # mistake
by_level.dedicated_connection(priority="urgent")  # mistake
ResourceAllocationPooledDB(sqlite3, allocation_strategy="first")  # mistake

steady = connect(sqlite3, database="a.db")
reveal_type(steady)  # SteadyDBConnection[Connection]
reveal_type(steady.dbapi_connection)  # Connection
reveal_type(SteadyDBConnection(sqlite3))  # SteadyDBConnection[Connection]
with steady as same:
    reveal_type(same)  # SteadyDBConnection[Connection]
    reveal_type(same.cursor())  # SteadyDBCursor
    same.create_function("double", 1, lambda x: 2 * x)
steady.comit()  # mistake
connect(sqlite3, failover="sometimes")  # mistake

persistent = PersistentDB(sqlite3, database="a.db")
reveal_type(persistent)  # PersistentDB[Connection]
reveal_type(persistent.connection())  # SteadyDBConnection[Connection]
own = persistent.dedicated_connection()
reveal_type(own)  # SteadyDBConnection[Connection]
own = persistent.steady_connection()
reveal_type(own)  # SteadyDBConnection[Connection]
with persistent.connection() as own:
    reveal_type(own)  # SteadyDBConnection[Connection]
persistent.conection()  # mistake
PersistentDB(sqlite3, failover="sometimes")  # mistake
PersistentDB("sqlite3")  # mistake


def save(generator: PersistentDB, db: SteadyDBConnection) -> None:
    reveal_type(generator)  # PersistentDB[Any]
    reveal_type(db.dbapi_connection)  # Any


simple = SimplePooledDB(sqlite3, 5, database="a.db")
reveal_type(simple)  # PooledDB
reveal_type(simple.connection())  # PooledDBConnection
with simple.connection() as plain:
    reveal_type(plain)  # PooledDBConnection
    plain.cursor().execute("select 1")
    plain.comit()  # mistake
simple.conection()  # mistake
SimplePooledDB(sqlite3, "5")  # mistake

keyed = ThreadedConnectionPool(1, 5, creator=sqlite3, database="a.db")
reveal_type(keyed)  # ThreadedConnectionPool[Connection]
conn = keyed.getconn("key", maxwait=1)
reveal_type(conn)  # KeyedConnection[Connection]
reveal_type(conn.dbapi_connection)  # Connection
reveal_type(conn.cursor())  # SteadyDBCursor
conn.comit()  # mistake
keyed.putconn(conn)
with keyed.connection() as conn:
    reveal_type(conn)  # KeyedConnection[Connection]
reveal_type(SimpleConnectionPool(1, 5, dsn=""))  # SimpleConnectionPool[Any]
ThreadedConnectionPool(1, "5")  # mistake

manager = get_pool_manager()
reveal_type(manager)  # DBConnectionPoolManager
reveal_type(DBConnectionPoolManager())  # DBConnectionPoolManager
managed = manager.get_pool("sqlite:///a.db")
reveal_type(managed)  # ManagedPool
reveal_type(managed.get_connection())  # PooledDedicatedDBConnection[Any]
managed.get_connection(target="any", maxlag=5, after="1/2")
managed.get_connection(target="replica")  # mistake
with managed.transaction() as db_of_any:
    reveal_type(db_of_any)  # PooledDedicatedDBConnection[Any]
with manager.get_connection("sqlite:///a.db") as db_of_any:
    reveal_type(db_of_any)  # PooledDedicatedDBConnection[Any]
    db_of_any.comit()  # mistake
manager.get_conection()  # mistake
config = ConnectionConfig("sqlite", database="a.db")
ConnectionConfig(DatabaseType.POSTGRESQL, hosts=["a", "b:5433"])
ConnectionConfig(5)  # mistake

driver = ScriptedDriver("create table orders (item text)")
driver.plan("lost", at="executed")
driver.plan(driver.DataError("too long"), "commit")
driver.plan("lsot")  # mistake
driver.plan("lost", at="excute")  # mistake
reveal_type(PooledDB(driver))  # PooledDB[ScriptedConnection]
try:
    driver.plan(driver.IntegrityError("twice"))
except driver.OperationalError as error:
    reveal_type(error.sqlstate)  # str | None

of_uri = ConnectionPool("sqlite:///a.db", pool_size=5)
reveal_type(of_uri.connection)  # PooledDedicatedDBConnection[Any]
reveal_type(of_uri.cursor)  # SteadyDBCursor
of_uri.cursor.excute("select 1")  # mistake

pg = SteadyPgConnection(dbname="a")
reveal_type(pg)  # SteadyPgConnection
with pg as same_pg:
    reveal_type(same_pg)  # SteadyPgConnection
    same_pg.query("select 1")
    same_pg.qery("select 1")  # mistake
reveal_type(PersistentPg(dbname="a").connection())  # SteadyPgConnection
PooledPg(1, reset=2, track=False)
PooledPg(1, reset="sessions")  # mistake
PooledPg(1, track="yes")  # mistake
pg_pool = PooledPg(1, dbname="a")
with pg_pool.transaction() as pg_lease:
    reveal_type(pg_lease)  # PooledPgConnection
    pg_lease.query("select 1")
    pg_lease.qery("select 1")  # mistake
reveal_type(pg_pool.run(lambda pg: 1))  # int
reveal_type(pg_pool.connection(target="standby"))  # PooledPgConnection
reveal_type(pg_pool.connection(after="1/2").position())  # str
pg_pool.connection(target="replica")  # mistake
with SimplePooledPg(5, dbname="a").connection() as simple_pg:
    reveal_type(simple_pg)  # PooledPgConnection
    simple_pg.query("select 1")
    simple_pg.qery("select 1")  # mistake


def of_any(creator: Any) -> None:
    reveal_type(PooledDB(creator))  # PooledDB[Any]
    reveal_type(PersistentDB(creator))  # PersistentDB[Any]
    reveal_type(connect(creator))  # SteadyDBConnection[Any]
