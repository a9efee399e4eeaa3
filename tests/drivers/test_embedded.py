"""Databases inside of the process: SQLite and DuckDB."""

import sqlite3
from functools import partial

import pytest
from drivers import ask

from dbutils.pooled_db import PooledDB
from dbutils.steady_db import connect


@pytest.fixture
def memory():
    """A private database in memory, with a row in it."""
    db = connect(sqlite3, database=":memory:", maxusage=1)
    ask(db, "create table it (id integer)")
    ask(db, "insert into it values (1)")
    db.commit()
    yield db
    db.close()


def test_a_private_database_is_not_replaced_when_its_use_is_over(memory):
    for _ in range(5):
        assert ask(memory, "select count(*) from it") == 1


def test_a_private_database_is_not_replaced_when_it_was_lost(memory):
    memory.dbapi_connection.close()
    for _ in range(2):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            ask(memory, "select count(*) from it")


def test_a_private_database_is_not_replaced_on_its_return():
    pool = PooledDB(
        sqlite3, maxconnections=1, database=":memory:",
        check_same_thread=False)
    with pool.connection() as db:
        ask(db, "create temporary table it (id integer)")
    with pool.connection() as db:
        assert ask(db, "select count(*) from it") == 0
    pool.close()


def test_a_file_is_opened_again(tmp_path):
    db = connect(sqlite3, database=str(tmp_path / "file"))
    ask(db, "create table it (id integer)")
    db.dbapi_connection.close()
    ask(db, "insert into it values (1)")
    db.commit()
    assert ask(db, "select count(*) from it") == 1
    db.close()


def test_a_transaction_that_was_closed_is_not_torn_apart(tmp_path):
    db = connect(sqlite3, database=str(tmp_path / "file"))
    ask(db, "create table it (id integer)")
    ask(db, "insert into it values (1)")
    db.dbapi_connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed") as info:
        ask(db, "insert into it values (2)")
    assert info.value.__notes__
    with pytest.raises(sqlite3.OperationalError, match="nothing was commit"):
        db.commit()
    assert ask(db, "select count(*) from it") == 0
    db.close()


@pytest.mark.parametrize("creator", [
    sqlite3, sqlite3.connect, sqlite3.Connection, partial(sqlite3.connect),
    lambda **kwargs: sqlite3.connect(**kwargs)])
def test_the_driver_is_known_whatever_the_creator_is(creator, tmp_path):
    db = connect(creator, database=str(tmp_path / "file"))
    assert type(db._own_session.driver).__name__ == "_Sqlite"
    assert ask(db, "select 1") == 1
    db.close()


def test_attributes_of_sqlite_are_changed_back(tmp_path):
    pool = PooledDB(
        sqlite3, maxconnections=1, database=str(tmp_path / "file"),
        check_same_thread=False)
    with pool.connection() as db:
        db.row_factory = sqlite3.Row
        assert db.row_factory is sqlite3.Row
        with db.cursor() as cursor:
            assert cursor.execute("select 1 as one").fetchone()["one"] == 1
    with pool.connection() as db:
        assert db.row_factory is None
    pool.close()


def test_a_changed_session_of_sqlite_is_not_handed_on(tmp_path):
    pool = PooledDB(
        sqlite3, maxconnections=1, database=str(tmp_path / "file"),
        setsession=["pragma foreign_keys = on"], check_same_thread=False)
    with pool.connection() as db:
        ask(db, "pragma foreign_keys = off")
    with pool.connection() as db:
        assert ask(db, "pragma foreign_keys") == 1
    pool.close()


def test_duckdb_works_out_of_the_box(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    pool = PooledDB(
        duckdb, maxconnections=2, database=str(tmp_path / "duck.db"),
        failures=None)
    with pool.connection() as db:
        ask(db, "create table it (id integer)")
        db.begin()
        ask(db, "insert into it values (1)")
        db.commit()
    with pool.connection() as db:
        assert ask(db, "select count(*) from it") == 1
        with pytest.raises(duckdb.Error):
            ask(db, "select nonsense")
        assert db._con._failures
    pool.close()


@pytest.mark.parametrize("reset", [True, False, "session"])
def test_duckdb_stays_open_after_a_lease_without_a_transaction(reset):
    duckdb = pytest.importorskip("duckdb")
    pool = PooledDB(duckdb, maxconnections=1, reset=reset)
    with pool.connection() as db:
        ask(db, "create table it as select 1")
    for _ in range(3):
        with pool.connection() as db:
            ask(db, "select 1")
    with pool.connection() as db:
        db.begin()
        ask(db, "insert into it values (2)")
    stats = pool.stats()
    assert (stats.opened, stats.closed) == (1, 0)
    pool.close()


def test_a_private_duckdb_is_not_replaced():
    duckdb = pytest.importorskip("duckdb")
    db = connect(duckdb, maxusage=1)
    ask(db, "create table it (id integer)")
    for _ in range(3):
        assert ask(db, "select count(*) from it") == 0
    db.close()


@pytest.mark.parametrize("statement", [
    "pragma enable_profiling", "PRAGMA disable_optimizer"])
def test_what_a_pragma_of_duckdb_switches_does_not_reach_the_next_user(
        tmp_path, statement):
    """Such a PRAGMA has no value, unlike those of SQLite that change."""
    duckdb = pytest.importorskip("duckdb")
    pool = PooledDB(
        duckdb, maxconnections=1, database=str(tmp_path / "pragma.db"))
    with pool.connection() as db:
        raw = db._con._con
        db.execute(statement)
    with pool.connection() as db:
        assert db._con._con is not raw
        raw = db._con._con
        db.execute("pragma database_size").fetchall()
    with pool.connection() as db:
        assert db._con._con is raw
    pool.close()
