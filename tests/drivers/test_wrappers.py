"""Connections in wrappers, and of drivers that nobody knows, on a server."""

import sys
from contextlib import suppress

import drivers
import pytest
from drivers import load, ready
from stand_ins import Wrapper, wrapped

from dbutils.pooled_db import PooledDB
from dbutils.steady_db import connect

pytestmark = pytest.mark.portable



def load_recent(name):
    """Load what is installed for the tests with the newest Python only."""
    if sys.version_info < (3, 13):
        return pytest.importorskip(name)
    return load(name)


@pytest.fixture
def driver(servers_running):
    return ready(drivers.BY_NAME["psycopg2"], servers_running)


def proxy(shows):
    def creator_of(driver):
        psycopg2 = driver.load()

        def creator():
            return wrapped(driver.connect(), shows)
        creator.dbapi = psycopg2
        return creator
    creator_of.__name__ = f"proxy that shows {shows}"
    return creator_of


def forwarding(driver):
    """A proxy that forwards everything, and says nothing by itself."""
    class Forwarding(Wrapper):
        def __getattr__(self, name):
            if name in {"fileno", "closed", "info", "autocommit"} or (
                    name.startswith(("get_", "_"))):
                raise AttributeError(name)
            return getattr(self._hidden, name)

    return lambda: Forwarding(driver.connect())


def raw_connection(driver):
    sqlalchemy = load_recent("sqlalchemy")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=driver.connect,
        poolclass=sqlalchemy.pool.NullPool)
    return engine.raw_connection


def pooled_raw_connection(driver):
    sqlalchemy = load_recent("sqlalchemy")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=driver.connect, pool_size=1)
    return engine.raw_connection


def adbc(driver):
    dbapi = load_recent("adbc_driver_postgresql.dbapi")
    uri = f"postgresql://postgres@{drivers.HOST}:{driver.port}/postgres"

    def creator():
        return dbapi.connect(uri)
    creator.dbapi = dbapi
    return creator


def aws(driver):
    wrapper = load_recent("aws_advanced_python_wrapper")
    psycopg = load("psycopg")
    text = f"host={drivers.HOST} port={driver.port} user=postgres"
    return lambda: wrapper.AwsWrapperConnection.connect(
        psycopg.Connection.connect, text, plugins="",
        wrapper_dialect="pg")


PROGRAMS = [
    proxy("-"), proxy("target_connection"), proxy("dbapi_connection"),
    proxy("driver_connection"), proxy("_con __wrapped__"), proxy("- -"),
    forwarding, raw_connection, pooled_raw_connection, adbc, aws]


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.__name__)
def creator(request, driver):
    return request.param(driver)


def first(con, sql):
    cursor = con.cursor()
    cursor.execute(sql)
    value = cursor.fetchone()[0]
    cursor.close()
    return value


def insert(con, table, number):
    cursor = con.cursor()
    cursor.execute(f"insert into {table} values ({number}, 1)")
    cursor.close()


def numbers_in(driver, table):
    return [row[0] for row in driver.run(f"select id from {table} order by 1")]


def was_told(con, work):
    """Return whether a program was told that all has worked."""
    try:
        work(con)
    except Exception:
        with suppress(Exception):
            con.rollback()
        return False
    return True


def test_no_half_of_a_transaction_is_stored(creator, driver):
    def work(db):
        insert(db, table, 1)
        if not killed:
            killed.append(first(db, driver.who_am_i))
            driver.kill(*killed)
        insert(db, table, 2)
        db.commit()

    table = driver.new_table("half")
    killed = []
    pool = PooledDB(creator, maxconnections=1)
    with pool.connection() as db:
        assert was_told(db, work) == (numbers_in(driver, table) == [1, 2])
        assert numbers_in(driver, table) in ([], [1, 2])
        if not numbers_in(driver, table):
            assert was_told(db, work)
        assert numbers_in(driver, table) == [1, 2]
    pool.close()


def test_a_program_that_goes_on_is_told_at_the_end(creator, driver):
    table = driver.new_table("at_the_end")
    db = connect(creator)
    insert(db, table, 1)
    driver.kill(first(db, driver.who_am_i))
    with suppress(Exception):
        insert(db, table, 2)
    assert was_told(db, lambda db: db.commit()) == (
        1 in numbers_in(driver, table))
    assert numbers_in(driver, table) in ([], [1, 2])
    db.close()


def test_a_killed_idle_session_costs_no_read_an_error(creator, driver):
    pool = PooledDB(creator, maxconnections=1)
    with pool.connection() as db:
        session = first(db, driver.who_am_i)
    driver.kill(session)
    with pool.connection() as db:
        assert first(db, driver.who_am_i) != session
    pool.close()


def test_an_error_of_a_statement_is_no_loss(creator, driver):
    table = driver.new_table("no_loss")
    db = connect(creator)
    session = first(db, driver.who_am_i)
    insert(db, table, 1)
    with pytest.raises(Exception, match=r"duplicate|unique"):
        insert(db, table, 1)
    db.rollback()
    assert first(db, driver.who_am_i) == session
    insert(db, table, 1)
    db.commit()
    assert numbers_in(driver, table) == [1]
    db.close()


def test_what_is_done_by_the_driver_counts_as_work(creator, driver):
    table = driver.new_table("by_the_driver")
    db = connect(creator)
    first(db, "select 1")
    insert(db.dbapi_connection, table, 1)
    driver.kill(first(db, driver.who_am_i))
    with suppress(Exception):
        insert(db, table, 2)
    assert not was_told(db, lambda db: db.commit())
    assert numbers_in(driver, table) == []
    db.close()


def test_a_time_out_is_raised_as_it_is(creator, driver):
    db = connect(creator)
    session = first(db, driver.who_am_i)
    insert(db, driver.new_table("in_time"), 1)
    db.commit()
    insert(db, "in_time", 2)
    first(db, "select set_config('statement_timeout', '50', true)")
    with pytest.raises(Exception, match="timeout") as info:
        first(db, "select pg_sleep(5)")
    assert not getattr(info.value, "__notes__", ())
    db.rollback()
    assert first(db, driver.who_am_i) == session
    assert numbers_in(driver, "in_time") == [1]
    db.close()
