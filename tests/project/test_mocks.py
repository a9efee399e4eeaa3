"""The drivers to test with keep the rules of PEP 249, as sqlite3 does."""

import sqlite3

import mock_db
import pytest

SELECT = {"mock_db": "select one", "sqlite3": "select 'one'"}
VOID = {"mock_db": "set void", "sqlite3": "create table void (x)"}


class Subject:
    """A driver about which something is to be found out."""

    def __init__(self, module):
        self.module = module
        self.select = SELECT[module.__name__]
        self.void = VOID[module.__name__]
        self.con = module.connect(database=":memory:")


@pytest.fixture(params=[mock_db, sqlite3], ids=lambda module: module.__name__)
def driver(request, dbapi):
    subject = Subject(request.param)
    yield subject
    if subject.module is sqlite3:
        subject.con.close()


def test_the_module_has_the_globals(driver):
    assert driver.module.threadsafety in {0, 1, 2, 3}
    declares = driver.module is sqlite3  # or we take it for no driver
    assert hasattr(driver.module, "apilevel") is declares
    assert hasattr(driver.module, "paramstyle") is declares


@pytest.mark.parametrize(("name", "base"), [
    ("Error", "Exception"), ("InterfaceError", "Error"),
    ("DatabaseError", "Error"), ("OperationalError", "DatabaseError"),
    ("InternalError", "DatabaseError"),
    ("ProgrammingError", "DatabaseError")])
def test_the_exceptions_form_the_tree(driver, name, base):
    bases = getattr(driver.module, base, Exception)
    assert issubclass(getattr(driver.module, name), bases)


def test_a_query_has_rows_and_a_description(driver):
    cursor = driver.con.cursor()
    assert cursor.description is None
    assert cursor.rowcount == -1
    cursor.execute(driver.select)
    assert len(cursor.description) == 1
    assert len(cursor.description[0]) == 7
    assert cursor.fetchone() == ("one",)
    assert cursor.fetchone() is None


def test_rows_can_be_fetched_in_several_ways(driver):
    cursor = driver.con.cursor()
    assert cursor.arraysize == 1
    for fetch in (cursor.fetchmany, cursor.fetchall,
                  lambda: cursor.fetchmany(2)):
        cursor.execute(driver.select)
        assert fetch() == [("one",)]
        assert fetch() == []


def test_a_statement_without_rows_has_no_description(driver):
    cursor = driver.con.cursor()
    cursor.execute(driver.select)
    cursor.execute(driver.void)
    assert cursor.description is None


def test_a_bad_statement_is_an_error(driver):
    cursor = driver.con.cursor()
    with pytest.raises(driver.module.DatabaseError):
        cursor.execute("nonsense")


def test_a_transaction_can_be_ended_at_any_time(driver):
    for end in (driver.con.commit, driver.con.rollback):
        assert end() is None


def test_sizes_can_be_set(driver):
    cursor = driver.con.cursor()
    assert cursor.setinputsizes([1]) is None
    assert cursor.setoutputsize(1) is None
    assert cursor.setoutputsize(1, 0) is None
    cursor.execute(driver.select)
    assert cursor.fetchone() == ("one",)


@pytest.mark.parametrize("use", [
    lambda con: con.cursor(), lambda con: con.commit(),
    lambda con: con.rollback()])
def test_a_closed_connection_cannot_be_used(driver, use):
    driver.con.close()
    with pytest.raises(driver.module.Error):
        use(driver.con)


@pytest.mark.parametrize("use", [
    lambda cursor: cursor.fetchone(), lambda cursor: cursor.fetchall(),
    lambda cursor: cursor.execute("select 1")])
def test_a_cursor_of_a_closed_connection_cannot_be_used(driver, use):
    cursor = driver.con.cursor()
    cursor.execute(driver.select)
    driver.con.close()
    with pytest.raises(driver.module.Error):
        use(cursor)


def test_a_closed_cursor_cannot_be_used(driver):
    cursor = driver.con.cursor()
    cursor.close()
    with pytest.raises(driver.module.Error):
        cursor.execute(driver.select)


def test_rows_that_there_are_not_cannot_be_fetched(dbapi):
    cursor = dbapi.connect().cursor()
    with pytest.raises(dbapi.Error):
        cursor.fetchone()
    # this is a rule of PEP 249 that sqlite3 does not keep


def test_planned_failures_come_when_they_are_due(dbapi, server):
    server.fail("execute", KeyError, after=1, times=2)
    cursor = dbapi.connect().cursor()
    cursor.execute("select one")
    for _ in range(2):
        with pytest.raises(KeyError):
            cursor.execute("select one")
    cursor.execute("select one")
    assert server.calls["execute"] == 4
    assert server.log[:2] == [("connect", None), ("cursor", 1)]


def test_optional_methods_can_be_switched_on(dbapi, server):
    con = dbapi.connect()
    assert not hasattr(con, "ping")
    server.has_ping = server.has_begin = True
    con.ping()
    con.begin()
    con.cancel()
    con.cut()
    with pytest.raises(dbapi.InternalError):
        con.ping()


def test_classic_connections_are_reset_and_reopened(pg, server):
    db = pg.DB("test", user="me")
    inner = db.db
    assert (db.dbname, inner.user, inner.status) == ("test", "me", 1)
    inner.cut()
    with pytest.raises(pg.InternalError):
        db.query("select one")
    db.reset()
    assert db.query("select one") == "one"
    db.reopen()
    assert inner.status == 0
    assert db.query("set x") is None
    assert db.session == ["x"]
    db.close()
    for use in (db.close, db.reset, lambda: db.query("select one")):
        with pytest.raises(pg.InternalError):
            use()
    assert not hasattr(db, "session")


def test_classic_connections_have_methods_for_transactions(pg, server):
    db = pg.DB()
    assert not hasattr(db, "begin")
    server.has_begin = True
    db.begin()
    db.commit("commit")
    assert db.session == ["begin", "commit"]
