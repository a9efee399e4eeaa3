"""Attacks on sessions and transactions that were successful once.

They are what programs of strangers do: unusual statements, kept methods,
creators of their own, and leases that are dropped after an error.
"""

import gc
import io
import sqlite3
from importlib import import_module
from inspect import signature

import drivers
import pytest
from drivers import ask, ready

from dbutils._manager.connector import Connector
from dbutils._steady.account import _effect_of
from dbutils.pool_manager import ConnectionConfig
from dbutils.pooled_db import PooledDB

FAMILIES = {
    driver.name: driver.family for driver in drivers.BY_NAME.values()}
ALL = list(FAMILIES)
POSTGRESQL = [name for name in ALL if FAMILIES[name] == "postgresql"]
MARIADB = [name for name in ALL if FAMILIES[name] == "mariadb"]


@pytest.fixture
def driver_of(servers_running):
    """Return a driver with its server."""
    def find(name):
        drivers.load(name)
        driver = drivers.BY_NAME[name]
        driver.port = servers_running(driver.family)
        return driver
    return find


@pytest.fixture
def pool_of(driver_of):
    """Make a pool of one connection of a driver."""
    pools = []

    def make(name, creator=None, **options):
        driver = driver_of(name)
        pool = PooledDB(
            creator or driver.load(), maxconnections=1,
            **{**driver.parameters(), **options})
        pools.append(pool)
        return pool
    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def no_collector():
    """Let the collector not run."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def session_of(db, driver):
    session = ask(db, driver.who_am_i)
    db.rollback()
    return session


def fail(pool, statement):
    """Execute what fails, and drop the lease instead of closing it."""
    db = pool.connection()
    try:
        db.cursor().execute(statement)
    except Exception:
        return True
    return False


# pg8000 has errors that refer to themselves.
@pytest.mark.parametrize("failover", ["safe", "never", "always"])
@pytest.mark.parametrize(
    "name", [name for name in ALL if not name.startswith("pg8000")])
@pytest.mark.usefixtures("no_collector")
def test_a_lease_that_is_dropped_after_an_error_comes_back(
        pool_of, name, failover):
    """An error does not keep the lease until the collector runs."""
    pool = pool_of(name, failover=failover)
    for statement in "selec nothing", "select * from nothing":
        assert fail(pool, statement)
        assert pool._connections == 0
        assert fail(pool, statement)  # as one that was seen before
        assert pool._connections == 0


@pytest.mark.usefixtures("no_collector")
def test_the_same_holds_for_a_shared_connection(pool_of):
    pool = pool_of("psycopg2", maxshared=1)
    assert fail(pool, "select * from nothing")
    assert pool._connections == 0


@pytest.mark.usefixtures("no_collector")
def test_the_same_holds_without_a_server():
    pool = PooledDB(
        sqlite3, maxconnections=1, database=":memory:",
        check_same_thread=False)
    assert fail(pool, "select * from nothing")
    assert pool._connections == 0
    pool.close()


@pytest.mark.parametrize("name", ALL)
def test_what_only_the_creator_can_prepare_is_not_lost(pool_of, name):
    """A session that a statement has changed is replaced, not reset."""
    statement, question, change = {
        "postgresql": (
            "set search_path to mine", "show search_path",
            "set work_mem = '7MB'"),
        "mariadb": (
            "set wait_timeout = 777", "select @@session.wait_timeout",
            "set @mine = 7"),
    }[FAMILIES[name]]
    connect = drivers.load(name).connect

    def creator(**parameters):
        con = connect(**parameters)
        ask(con, statement)
        con.commit()
        return con

    creator.dbapi = drivers.load(name)
    pool = pool_of(name, creator)
    with pool.connection() as db:
        prepared = ask(db, question)
        ask(db, change)
        db.commit()
    with pool.connection() as db:
        assert ask(db, question) == prepared
    assert str(prepared) in {"mine", "777"}


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("name", MARIADB)
def test_what_is_set_for_the_next_transaction_is_for_no_other_borrower(
        pool_of, driver_of, name, autocommit):
    table = driver_of(name).new_table("ahead")
    pool = pool_of(name, autocommit=autocommit)
    for _ in range(2):
        with pool.connection() as db:
            ask(db, "set transaction read only")
        with pool.connection() as db:
            db.begin() if name == "pymysql" else ask(db, "begin")
            ask(db, f"insert into {table} values (1, 1)")
            assert ask(db, f"select count(*) from {table}") == 1
            db.rollback()


@pytest.mark.parametrize("name", POSTGRESQL)
def test_setting_the_own_transaction_costs_no_new_session(pool_of, name):
    pool = pool_of(name)
    with pool.connection() as db:
        ask(db, "set transaction isolation level serializable")
        assert not db._con._own_session.is_marked


@pytest.mark.parametrize("name", MARIADB)
def test_a_compound_statement_does_not_hide_what_it_sets(pool_of, name):
    pool = pool_of(name)
    with pool.connection() as db:
        ask(db, "if 1 then set autocommit = 1; end if")
    with pool.connection() as db:
        assert ask(db, "select @@autocommit") == 0


@pytest.mark.parametrize("by_option", [True, False])
@pytest.mark.parametrize("name", ["psycopg2", "psycopg"])
def test_a_held_cursor_does_not_reach_the_next_borrower(
        pool_of, name, by_option):
    pool = pool_of(name)
    if by_option:
        options = {"withhold": True}
    elif name == "psycopg2":
        options = {}
    else:
        pytest.skip("psycopg has no such attribute that is written")
    for _ in range(2):
        with pool.connection() as db:
            cursor = db.cursor("held", **options)
            if not by_option:
                cursor.withhold = True
            cursor.execute("select generate_series(1, 5)")
            assert cursor.fetchone() == (1,)
            db.commit()
    with pool.connection() as db:
        assert ask(db, "select count(*) from pg_cursors") == 0


def test_statements_that_a_cursor_has_prepared_are_closed(pool_of, driver_of):
    driver = driver_of("mysql.connector")
    pool = pool_of(driver.name)
    question = "show global status like 'Prepared_stmt_count'"
    before = driver.run(question)
    for number in range(3):
        with pool.connection() as db:
            cursor = db.cursor(prepared=True)
            cursor.execute("select %s", (number,))
            assert cursor.fetchall() == [(number,)]
    assert driver.run(question) == before


def test_work_in_a_later_part_of_a_script_is_not_lost_in_silence(
        pool_of, driver_of):
    """The driver only knows of it when it has read that answer."""
    driver = driver_of("mysql.connector")
    kind = import_module("mysql.connector.cursor").MySQLCursor
    if "multi" in signature(kind.execute).parameters:
        pytest.skip("older releases return an iterator")
    table = driver.new_table("script")
    pool = pool_of(driver.name)
    with pool.connection() as db:
        session = session_of(db, driver)
        cursor = db.cursor()
        script = f"select 1; insert into {table} values (1, 1)"
        cursor.execute(script)
        cursor.fetchall()
        while cursor.nextset():
            pass
        driver.kill(session)
        with pytest.raises(driver.error):
            cursor.execute(f"insert into {table} values (2, 2)")
    assert driver.run(f"select * from {table}") == []


def test_a_method_that_the_program_keeps_does_work_each_time(
        pool_of, driver_of):
    driver = driver_of("psycopg2")
    table = driver.new_table("copied")
    pool = pool_of(driver.name)
    with pool.connection() as db:
        session = session_of(db, driver)
        cursor = db.cursor()
        copy = cursor.copy_from
        copy(io.StringIO("1\t1\n"), table)
        db.commit()
        copy(io.StringIO("2\t2\n"), table)
        driver.kill(session)
        with pytest.raises(driver.error):
            cursor.execute(f"insert into {table} values (3, 3)")
    assert driver.run(f"select id from {table}") == [(1,)]


@pytest.mark.parametrize("statement", ["begin", "; begin", "select 1;\nbegin"])
def test_empty_lines_are_looked_at_once(statement):
    """If each were looked at from each other one, this would take minutes."""
    assert _effect_of("\n" * 200_000 + statement) == "begin"


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_creator_can_say_that_it_prepares_nothing(servers_running, is_plain):
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)

    def creator():
        return driver.connect()
    creator.dbapi = driver.load()
    creator.is_plain = is_plain
    pool = PooledDB(creator, maxconnections=1)
    sessions = []
    for _ in range(2):
        with pool.connection() as db:
            sessions.append(ask(db, driver.who_am_i))
            db.cursor().execute("set work_mem = '1MB'")
    assert (sessions[0] == sessions[1]) is is_plain
    pool.close()


def _creators(driver):
    """Return what can open connections without preparing them."""
    def plain(**parameters):
        return driver.load().connect(**parameters)
    plain.is_plain = True
    config = ConnectionConfig.from_url(
        f"postgresql+psycopg2://postgres@{drivers.HOST}:{driver.port}/postgres")
    options = driver.parameters()
    host = {name: options.pop(name) for name in ("host", "port")}
    return {
        "function": PooledDB(
            plain, maxconnections=1, **driver.parameters()),
        "configuration": PooledDB(Connector(config), maxconnections=1),
        "targets": PooledDB(
            driver.load(), maxconnections=1, targets=[host], **options)}


@pytest.mark.parametrize("opened_by", [
    "function", "configuration", "targets"])
@pytest.mark.parametrize("reach", ["connection", "cursor"])
def test_direct_use_leaves_nothing_behind_where_nothing_was_prepared(
        driver_of, opened_by, reach):
    driver = driver_of("psycopg2")
    pool = _creators(driver)[opened_by]
    found = []
    for _ in range(2):
        with pool.connection() as db:
            found.append([
                ask(db, question) for question in (
                    driver.who_am_i, "select current_user",
                    "show search_path")])
            cursor = (
                db.dbapi_connection.cursor() if reach == "connection"
                else db.cursor().dbapi_cursor)
            cursor.execute("set role pg_monitor")
            cursor.execute("set search_path = pg_catalog")
            db.commit()
    assert found[0] == found[1]
    pool.shutdown()
