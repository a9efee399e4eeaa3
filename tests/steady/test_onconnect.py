"""What the program does with each new session."""

import sqlite3

import drivers
import pytest
from drivers import ask, ready

from dbutils import PersistentDB, PersistentPg, PooledDB, PooledPg
from dbutils.steady_db import connect
from dbutils.steady_pg import SteadyPgConnection
from dbutils.testing import ScriptedDriver

SCRIPT = "create table things (name text)"
INSERT = "insert into things values ('first')"


@pytest.fixture
def driver():
    return ScriptedDriver(SCRIPT)


class Hook:
    """Notes the driver connections that it gets."""

    def __init__(self, statement=None):
        self.statement = statement
        self.cons = []

    def __call__(self, con):
        self.cons.append(con)
        if self.statement:
            con.cursor().execute(self.statement)


def made_by(kind, driver, hook):
    """Return something that makes connections, and one of them."""
    if kind is connect:
        return None, connect(driver, onconnect=hook)
    maker = kind(driver, onconnect=hook)
    return maker, maker.connection()


@pytest.mark.parametrize("kind", [connect, PooledDB, PersistentDB])
def test_it_gets_each_new_driver_connection(driver, kind):
    hook = Hook()
    _maker, con = made_by(kind, driver, hook)
    assert [con.dbapi_connection] == hook.cons
    driver.kill_connections()
    con.cursor().execute("select name from things")
    assert len(hook.cons) == 2
    assert con.dbapi_connection is hook.cons[-1]


def test_it_comes_after_the_settings(driver):
    seen = []
    connect(
        driver, setsession=["select 1"],
        onconnect=lambda con: seen.extend(driver.seen))
    assert ("executed", "select 1") in seen


def test_its_work_is_committed(driver):
    with PooledDB(driver, onconnect=Hook(INSERT)) as pool:
        with pool.connection() as con:
            con.rollback()
            con.cursor().execute("select name from things")
        with pool.connection() as con:
            cursor = con.cursor()
            cursor.execute("select count(*) from things")
            assert cursor.fetchone() == (1,)


def test_its_error_is_one_of_connecting(driver):
    def refuse(con):
        raise LookupError("no such type")

    with PooledDB(driver, maxconnections=1, onconnect=refuse) as pool:
        for _ in range(3):
            with pytest.raises(LookupError, match="no such type"):
                pool.connection()
        assert pool.stats().in_use == 0
    assert "with 0 connections" in repr(driver)


def test_what_it_sets_stays_for_all_borrowers():
    def prepare(con):
        con.row_factory = sqlite3.Row

    with PooledDB(
            sqlite3, maxconnections=1, database=":memory:",
            onconnect=prepare) as pool:
        for factory in (None, sqlite3.Row, None):
            with pool.connection() as con:
                cursor = con.cursor()
                cursor.execute("select 1 as one")
                assert cursor.fetchone()["one"] == 1
                con.row_factory = factory  # for this borrower


@pytest.mark.parametrize("make", [
    lambda hook: connect(sqlite3, onconnect=hook),
    lambda hook: PooledDB(sqlite3, onconnect=hook),
    lambda hook: PersistentDB(sqlite3, onconnect=hook),
    lambda hook: SteadyPgConnection(onconnect=hook),
    lambda hook: PooledPg(onconnect=hook),
    lambda hook: PersistentPg(onconnect=hook)])
@pytest.mark.parametrize("hook", ["select 1", 1, ()])
def test_it_must_be_callable(make, hook):
    with pytest.raises(TypeError, match="'onconnect' must be a callable"):
        make(hook)


@pytest.mark.usefixtures("pg")
def test_connections_of_classic_pygresql_are_prepared_as_well():
    hook = Hook()
    con = SteadyPgConnection(onconnect=hook)
    assert hook.cons == [con._con]
    con._own_session.reset()
    assert hook.cons == [con._con] * 2
    pool = PooledPg(onconnect=hook)
    pool.connection().close()
    assert len(hook.cons) == 3
    PersistentPg(onconnect=hook).connection()
    assert len(hook.cons) == 4


@pytest.mark.parametrize("name", ["psycopg2", "psycopg", "pg8000.dbapi"])
def test_a_session_that_is_made_clean_is_prepared_again(
        name, servers_running):
    driver = ready(drivers.BY_NAME[name], servers_running)
    hook = Hook("set application_name = 'shop'")
    pool = PooledDB(
        driver.load(), maxconnections=1, onconnect=hook,
        **driver.parameters())
    for _ in range(3):
        with pool.connection() as con:
            assert ask(con, "show application_name") == "shop"
            con.cursor().execute("set application_name = 'other'")
            con.commit()
    pool.close()
