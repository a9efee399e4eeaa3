"""The driver for tests: does each fault happen as planned, and only then?"""

import sqlite3
import threading
from threading import Thread

import pytest
from patience import PATIENCE, wait_until

from dbutils.pooled_db import PooledDB
from dbutils.testing import ScriptedDriver

SCRIPT = "create table things (name text)"
INSERT = "insert into things values (?)"


@pytest.fixture
def driver():
    return ScriptedDriver(SCRIPT)


@pytest.fixture
def con(driver):
    con = driver.connect()
    yield con
    con.close()


def insert(con, name):
    con.cursor().execute(INSERT, (name,))


def stored(driver):
    """Return what is committed."""
    con = driver.connect()
    cursor = con.cursor().execute("select name from things order by rowid")
    names = [name for name, in cursor]
    con.close()
    return names


def save(con, name):
    insert(con, name)
    con.commit()


def test_it_declares_what_pep_249_demands(driver):
    assert (driver.apilevel, driver.threadsafety, driver.paramstyle) == (
        "2.0", 1, "qmark")
    assert ScriptedDriver(threadsafety=3).threadsafety == 3
    for name in (
            "Warning", "Error", "InterfaceError", "DatabaseError", "DataError",
            "OperationalError", "IntegrityError", "InternalError",
            "ProgrammingError", "NotSupportedError"):
        assert issubclass(getattr(driver, name), Exception)
    assert issubclass(driver.OperationalError, driver.DatabaseError)


def test_it_has_transactions(driver, con):
    assert not con.in_transaction
    insert(con, "a")
    assert con.in_transaction
    assert stored(driver) == []
    con.rollback()
    assert not con.in_transaction
    save(con, "b")
    assert stored(driver) == ["b"]
    con.autocommit = True
    insert(con, "c")
    assert not con.in_transaction
    assert stored(driver) == ["b", "c"]


def test_closing_rolls_back(driver):
    con = driver.connect()
    insert(con, "a")
    con.close()
    assert con.closed
    assert stored(driver) == []
    with pytest.raises(driver.InterfaceError):
        con.cursor()


def test_results(con):
    with con.cursor() as cursor:
        assert cursor.rowcount == -1
        cursor.executemany(INSERT, [("a",), ("b",), ("c",), ("d",)])
        assert cursor.rowcount == 4
        cursor.execute("select name from things order by name")
        assert cursor.description[0][0] == "name"
        assert cursor.fetchone() == ("a",)
        assert cursor.fetchmany(2) == [("b",), ("c",)]
        assert cursor.fetchall() == [("d",)]
        assert cursor.fetchone() is None
        cursor.execute("delete from things")
        with pytest.raises(cursor.connection._driver.ProgrammingError):
            cursor.fetchone()
    with pytest.raises(cursor.connection._driver.InterfaceError):
        cursor.execute("select 1")


@pytest.mark.parametrize(("statement", "name", "state"), [
    ("nonsense 1", "OperationalError", "42000"),
    ("insert into things values (1, 2)", "OperationalError", "42000"),
    ("insert into few values (1)", "IntegrityError", "23000")])
def test_errors_have_states(driver, con, statement, name, state):
    con.cursor().execute("create table few (x integer check (x > 1))")
    with pytest.raises(getattr(driver, name)) as raised:
        con.cursor().execute(statement)
    assert raised.value.sqlstate == state
    assert not con.closed


def test_what_sqlite_does_not_know_can_be_answered(driver, con):
    driver.answers["select pg_backend_pid()"] = [(42,)]
    cursor = con.cursor().execute("select pg_backend_pid()")
    assert cursor.fetchall() == [(42,)]
    assert len(cursor.description) == 1


# Each fault, without a pool.

@pytest.mark.parametrize(("at", "expected"), [
    ("execute", []), ("executed", []), ("commit", []), ("committed", ["a"])])
def test_a_connection_is_lost_at_an_event(driver, con, at, expected):
    driver.plan("lost", at=at)
    with pytest.raises(driver.OperationalError) as raised:
        save(con, "a")
    assert raised.value.sqlstate == "08006"
    assert con.closed
    assert stored(driver) == expected


def test_with_autocommit_a_statement_was_done_when_the_answer_is_lost(
        driver, con):
    con.autocommit = True
    driver.plan("lost", at="executed")
    with pytest.raises(driver.OperationalError):
        insert(con, "a")
    assert stored(driver) == ["a"]


@pytest.mark.parametrize("at", ["rollback", "rolled back"])
def test_a_connection_is_lost_in_a_rollback(driver, con, at):
    driver.plan("lost", at=at)
    insert(con, "a")
    with pytest.raises(driver.OperationalError):
        con.rollback()
    assert stored(driver) == []


@pytest.mark.parametrize("at", ["connect", "connected"])
@pytest.mark.parametrize(("fault", "state"), [
    ("lost", "08006"), ("refused", "08001"), ("password", "28P01"),
    ("too many", "53300")])
def test_connecting_fails(driver, at, fault, state):
    driver.plan(fault, at=at, times=2)
    for _ in range(2):
        with pytest.raises(driver.OperationalError) as raised:
            driver.connect()
        assert raised.value.sqlstate == state
    driver.connect().close()
    assert "with 0 connections" in repr(driver)


@pytest.mark.parametrize(("fault", "state"), [
    ("deadlock", "40P01"), ("conflict", "40001"), ("timeout", "57014"),
    ("read-only", "25006")])
@pytest.mark.parametrize("at", ["execute", "executed", "commit"])
def test_other_faults_end_the_transaction_only(
        driver, con, fault, state, at):
    driver.plan(fault, at=at, matching=None if at == "commit" else "insert")
    with pytest.raises(driver.OperationalError) as raised:
        save(con, "a")
    assert raised.value.sqlstate == state
    assert not con.in_transaction
    assert not con.closed
    save(con, "b")
    assert stored(driver) == ["b"]


def test_a_fault_can_be_an_exception(driver, con):
    driver.plan(KeyboardInterrupt(), at="executed")
    with pytest.raises(KeyboardInterrupt):
        insert(con, "a")
    assert not con.closed


def test_a_fault_hits_what_it_is_planned_for(driver, con):
    driver.plan("deadlock", matching="^INSERT.*things")
    con.cursor().execute("select name from things")
    with pytest.raises(driver.OperationalError):
        insert(con, "a")
    insert(con, "b")


@pytest.mark.parametrize(("fault", "at", "named"), [
    ("lots", "execute", "lost, refused"), ("lost", "close", "rolled back"),
    (Exception, "execute", "any exception")])
def test_a_fault_that_does_not_exist_cannot_be_planned(
        driver, fault, at, named):
    with pytest.raises(ValueError, match=named):
        driver.plan(fault, at=at)


# The state of the server.

def test_a_killed_connection_hangs_up(driver, con):
    insert(con, "a")
    driver.kill_connections()
    assert not con.closed  # nobody has told the client
    with pytest.raises(driver.OperationalError) as raised:
        con.commit()
    assert raised.value.sqlstate == "08006"
    assert con.closed
    assert stored(driver) == []


def test_a_server_that_has_stopped_refuses_connections(driver, con):
    driver.stop()
    with pytest.raises(driver.OperationalError) as raised:
        driver.connect()
    assert raised.value.sqlstate == "08001"
    driver.start()
    assert stored(driver) == []


def test_a_password(driver):
    driver.password = "right"
    with pytest.raises(driver.OperationalError) as raised:
        driver.connect(password="wrong")
    assert raised.value.sqlstate == "28P01"
    driver.connect(password="right").close()


def test_a_limit_of_connections(driver, con):
    driver.max_connections = 2
    other = driver.connect()
    with pytest.raises(driver.OperationalError) as raised:
        driver.connect()
    assert raised.value.sqlstate == "53300"
    other.close()
    driver.connect().close()


def test_a_server_that_only_reads(driver, con):
    driver.read_only = True
    con.cursor().execute("select name from things")
    with pytest.raises(driver.OperationalError) as raised:
        insert(con, "a")
    assert raised.value.sqlstate == "25006"
    driver.read_only = False
    save(con, "b")
    assert stored(driver) == ["b"]


def test_connecting_takes_its_time(driver, monkeypatch):
    waited = []
    monkeypatch.setattr(
        threading.Event, "wait",
        lambda self, seconds=None: waited.append(seconds))
    driver.connect_seconds = 5
    driver.connect().close()
    assert waited == [5]


def test_silence_ends_when_the_server_speaks(driver, con):
    driver.silence()
    results = []
    thread = Thread(target=lambda: results.append(
        con.cursor().execute("select 1").fetchone()), daemon=True)
    thread.start()
    wait_until(lambda: driver._silent)
    assert results == []
    driver.speak()
    thread.join(PATIENCE)
    assert results == [(1,)]
    con.cursor().execute("select 1")


@pytest.mark.parametrize("end", [
    lambda driver, con: driver.kill_connections(),
    lambda driver, con: con._session.socket.shutdown(2)])
def test_who_waits_in_silence_hears_that_the_connection_is_lost(
        driver, con, end):
    driver.silence()
    errors = []

    def ask():
        try:
            con.cursor().execute("select 1")
        except driver.OperationalError as error:
            errors.append(error.sqlstate)
    thread = Thread(target=ask, daemon=True)
    thread.start()
    wait_until(lambda: driver._silent)
    end(driver, con)
    thread.join(PATIENCE)
    assert errors == ["08006"]


def test_what_has_reached_the_server_is_known(driver, con):
    driver.seen.clear()
    save(con, "a")
    assert list(driver.seen) == [
        ("execute", INSERT), ("executed", INSERT), ("commit", ""),
        ("committed", "")]


def test_its_database_goes_with_it():
    driver = ScriptedDriver(SCRIPT)
    path = driver._path
    sqlite3.connect(path).close()
    del driver
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(path)


# In a pool.

@pytest.fixture
def pool(driver):
    with PooledDB(driver, maxconnections=1) as pool:
        yield pool


def read(db):
    cursor = db.cursor()
    cursor.execute("select name from things")
    return cursor.fetchall()


@pytest.mark.parametrize("at", ["execute", "executed"])
def test_a_pool_repeats_a_read(driver, pool, at):
    with pool.connection() as db:
        driver.plan("lost", at=at)
        assert read(db) == []
    assert pool.stats().opened == 1
    assert pool.stats().reconnects == 1


@pytest.mark.parametrize(("at", "expected"), [
    ("execute", []), ("executed", []), ("commit", []), ("committed", ["a"])])
def test_a_pool_repeats_no_work(driver, pool, at, expected):
    driver.plan("lost", at=at)
    with pytest.raises(driver.OperationalError), pool.transaction() as db:
        db.cursor().execute(INSERT, ("a",))
    assert stored(driver) == expected
    with pool.connection() as db:
        assert len(read(db)) == len(expected)


def test_a_pool_hands_out_no_killed_connection(driver, pool):
    pool.connection().close()
    for _ in range(3):
        driver.kill_connections()
        driver.seen.clear()
        with pool.connection() as db:
            read(db)
        events = [event for event, _ in driver.seen]
        assert events[:3] == ["connect", "connected", "execute"]


def test_run_repeats_after_a_deadlock(driver, pool):
    driver.plan("deadlock", at="commit", times=2)
    pool.run(lambda db: db.cursor().execute(INSERT, ("a",)))
    assert stored(driver) == ["a"]
