"""The repr of pools, leases, connections and cursors."""

import sqlite3
from functools import partial
from threading import Thread

import mock_db
import pytest
from patience import PATIENCE, wait_until

from dbutils import (
    DynamicPooledDB,
    PersistentDB,
    PersistentPg,
    PooledDB,
    PooledPg,
    SimplePooledDB,
)
from dbutils.steady_db import connect
from dbutils.testing import ScriptedDriver

SECRET = "TopSecret"


@pytest.fixture
def pool():
    with PooledDB(
            sqlite3, maxconnections=2, poolname="shop", database=":memory:",
            check_same_thread=False) as pool:
        yield pool


def shown(thing):
    """Return the repr, which is the same for str()."""
    assert str(thing) == repr(thing) == f"{thing}"
    return repr(thing)


def test_a_pool_shows_its_state(pool):
    assert shown(pool) == (
        "<PooledDB 'shop' 0 of 2 in use, 0 idle, 0 waiting>")
    first, second = pool.connection(), pool.connection()
    assert "2 of 2 in use, 0 idle, 0 waiting" in shown(pool)
    first.close()
    assert "1 of 2 in use, 1 idle, 0 waiting" in shown(pool)
    second.close()
    pool.shutdown()
    assert shown(pool) == (
        "<PooledDB 'shop' 0 of 2 in use, 0 idle, 0 waiting, shut down>")


def test_a_pool_shows_who_waits(pool):
    leases = [pool.connection(), pool.connection()]
    thread = Thread(
        target=lambda: pool.connection(maxwait=PATIENCE).close(), daemon=True)
    thread.start()
    wait_until(lambda: "1 waiting" in shown(pool))
    for lease in leases:
        lease.close()
    thread.join(PATIENCE)
    assert "0 waiting" in shown(pool)


def test_a_pool_without_limit_shows_none():
    with DynamicPooledDB(sqlite3, database="x.db") as pool:
        assert shown(pool) == (
            "<DynamicPooledDB 'sqlite3 x.db' 0 in use, 0 idle, 0 waiting>")


def test_a_pool_shows_what_is_shared():
    with PooledDB(
            ScriptedDriver(threadsafety=2), maxshared=3) as pool:
        leases = [pool.connection() for _ in range(4)]
        assert shown(pool) == (
            "<PooledDB 'ScriptedDriver' 3 in use, 0 idle, 3 shared,"
            " 0 waiting>")
        del leases


@pytest.mark.parametrize(("parameters", "name"), [
    ({}, "sqlite3"),
    ({"database": "shop.db"}, "sqlite3 shop.db"),
    ({"host": "db1"}, "sqlite3 db1"),
    ({"host": "db1", "port": 5433, "dbname": "shop"},
     "sqlite3 db1:5433/shop"),
    ({"unix_socket": "/run/my.sock", "db": "shop"},
     "sqlite3 /run/my.sock/shop"),
    ({"host": lambda: "db1", "database": "shop"}, "sqlite3 shop"),
    ({"database": f"mysql://me:{SECRET}@db1/shop"},
     "sqlite3 mysql://me:***@db1/shop"),
    ({"dbname": f"host=db1 password={SECRET}"}, "sqlite3"),
    ({"host": f"me:{SECRET}@db1"}, "sqlite3 db1"),
    ({"password": SECRET, "dsn": f"password={SECRET}"}, "sqlite3")])
def test_the_name_of_a_pool_is_the_place(parameters, name):
    with PooledDB(sqlite3, **parameters) as pool:
        assert f"<PooledDB {name!r} 0 in use" in shown(pool)
        assert SECRET not in shown(pool)


@pytest.mark.parametrize(("creator", "name"), [
    (mock_db, "mock_db"), (mock_db.connect, "mock_db"),
    (partial(sqlite3.connect, "x.db"), "partial"),
    (ScriptedDriver(), "ScriptedDriver")])
def test_the_name_of_a_pool_begins_with_the_driver(creator, name):
    if creator is mock_db.connect:
        def creator():
            return mock_db.connect()
        creator.dbapi = mock_db
    with PooledDB(creator) as pool:
        assert shown(pool).startswith(f"<PooledDB {name!r} 0 in use")


def test_a_pool_of_classic_pygresql_shows_its_place():
    pool = PooledPg(dbname="shop", host="db1", maxconnections=3)
    assert shown(pool) == (
        "<PooledPg 'pg db1/shop' 0 of 3 in use, 0 idle, 0 waiting>")
    pool = PooledPg(poolname="mine")
    assert "'mine'" in shown(pool)


@pytest.mark.parametrize("pool_class", [
    partial(PooledDB, sqlite3), PooledPg])
@pytest.mark.parametrize("name", [5, b"shop", object()])
def test_a_name_is_a_text(pool_class, name):
    with pytest.raises(TypeError, match="'poolname' must be a text"):
        pool_class(poolname=name)


def test_a_pool_that_has_not_begun_can_be_shown():
    pool = PooledDB.__new__(PooledDB)
    assert shown(pool) == "<PooledDB that has not begun>"


def test_a_lease_shows_its_connection(pool):
    lease = pool.connection()
    assert shown(lease) == (
        "<PooledDedicatedDBConnection of"
        " <SteadyDBConnection of sqlite3, open>>")
    lease.begin()
    lease.cursor().execute("select 1")
    assert "open, in a transaction, used 1 times" in shown(lease)
    lease.close()
    assert shown(lease) == "<PooledDedicatedDBConnection that was given back>"


def test_a_cursor_shows_its_connection(pool):
    with pool.connection() as lease:
        cursor = lease.cursor()
        assert shown(cursor).startswith(
            "<SteadyDBCursor of <SteadyDBConnection of sqlite3, open")
        closed = lease.cursor()
        closed.close()
        assert shown(closed) == "<SteadyDBCursor, closed>"
    assert shown(cursor) == "<SteadyDBCursor of a connection given back>"
    closed._cursor = None
    assert "closed" in shown(closed)


def test_a_steady_connection_shows_its_state():
    driver = ScriptedDriver()
    db = connect(driver)
    assert shown(db) == "<SteadyDBConnection of dbutils, open>"
    db.valid = False
    assert "not valid" in shown(db)
    db.valid = True
    driver.plan("lost", at="execute")
    db.begin()
    with pytest.raises(driver.OperationalError):
        db.cursor().execute("select 1")
    assert "lost" in shown(db)
    other = connect(driver)
    other.close()
    assert "closed" in shown(other)


def test_nothing_is_asked_to_show_a_connection():
    driver = ScriptedDriver()
    with PooledDB(driver) as pool, pool.connection() as lease:
        cursor = lease.cursor()
        cursor.execute("select 1")
        driver.seen.clear()
        for thing in (pool, lease, lease._con, cursor):
            shown(thing)
        assert not driver.seen


def test_a_persistent_connection_shows_that_of_the_thread():
    persist = PersistentDB(sqlite3, database=":memory:")
    assert shown(persist) == (
        "<PersistentDB 'sqlite3 :memory:' with no connection in this thread>")
    con = persist.connection()
    assert shown(persist) == (
        f"<PersistentDB 'sqlite3 :memory:' with {con!r} in this thread>")
    assert "'pg shop'" in shown(PersistentPg(dbname="shop"))


@pytest.mark.parametrize("threadsafety", [1, 2])
def test_a_simple_pool_shows_its_state(threadsafety):
    driver = ScriptedDriver(threadsafety=threadsafety)
    pool = SimplePooledDB(driver, 2, password=SECRET)
    lease = pool.connection()
    assert shown(pool) == (
        "<PooledDB 1 of 2 in use, 0 waiting>" if threadsafety == 1
        else "<PooledDB 2 connections>")
    assert shown(lease) == (
        "<PooledDBConnection of dbutils.testing.ScriptedConnection>")
    lease.close()
    assert "given back" in shown(lease)
