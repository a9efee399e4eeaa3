"""A result outlives its connection where its rows are in the client."""

import sqlite3
import warnings

import drivers
import pytest
from drivers import ready

from dbutils.pooled_db import PooledDB
from dbutils.steady_db import InvalidCursorError

pytestmark = [
    pytest.mark.portable,
    # of PyMySQL, about a result that was not read to its end
    pytest.mark.filterwarnings("ignore:Previous unbuffered result"),
    # of psycopg, about a cursor that was not closed before the return
    pytest.mark.filterwarnings("ignore:.* was deleted while still open")]

# What makes a cursor whose rows are in the client, if that is not the default.
BUFFERED = {"mysql.connector": {"buffered": True}}

THREE = "select 1 union all select 2 union all select 3"
OTHERS = "select 7 union all select 8 union all select 9"


@pytest.fixture
def pool(driver):
    pool = PooledDB(
        driver.load(), maxconnections=1, blocking=True, **driver.parameters())
    yield pool
    pool.close()


@pytest.fixture
def options(driver):
    """The options for a cursor whose rows are in the client."""
    return BUFFERED.get(driver.name, {})


def returned(pool, options, sql=THREE):
    """Execute a query, give the connection back, and return the cursor."""
    lease = pool.connection()
    cursor = lease.cursor(**options)
    cursor.execute(sql)
    lease.close()
    return cursor


def values(rows):
    return [row[0] for row in rows]


READERS = {
    "fetchone": lambda cursor: values(
        cursor.fetchone() for _ in range(3)),
    "fetchmany": lambda cursor: values(
        [*cursor.fetchmany(2), *cursor.fetchmany(2)]),
    "fetchall": lambda cursor: values(cursor.fetchall()),
    "iteration": values,
}


@pytest.mark.parametrize("how", READERS)
def test_rows_are_read_while_the_next_one_works(how, pool, options):
    cursor = returned(pool, options)
    with pool.connection() as lease:
        other = lease.cursor(**options)
        other.execute(OTHERS)
        assert other.fetchone()[0] == 7
        with pytest.warns(PendingDeprecationWarning, match="given back"):
            assert READERS[how](cursor) == [1, 2, 3]
        assert values(other.fetchall()) == [8, 9]


def test_rows_are_read_in_part_before_and_after_the_return(pool, options):
    lease = pool.connection()
    cursor = lease.cursor(**options)
    cursor.execute(THREE)
    rows = iter(cursor)
    assert next(rows)[0] == 1
    lease.close()
    with pytest.warns(PendingDeprecationWarning):
        assert values(rows) == [2, 3]


def test_a_result_is_described_after_the_return(pool, options):
    cursor = returned(pool, options)
    with pytest.warns(PendingDeprecationWarning):
        assert len(cursor.description) == 1
    with pytest.warns(PendingDeprecationWarning):
        assert cursor.rowcount == 3


def test_the_usual_function_that_returns_rows(pool, options):
    def load():
        lease = pool.connection()
        cursor = lease.cursor(**options)
        try:
            cursor.execute(THREE)
        finally:
            lease.close()
        return cursor.fetchall()

    for _ in range(3):
        with pytest.warns(PendingDeprecationWarning):
            assert values(load()) == [1, 2, 3]


def test_an_id_is_known_after_the_return(pool, driver, options):
    if driver.family != "mariadb":
        pytest.skip("this driver knows no ids of rows")
    driver.run("drop table if exists numbered")
    driver.run(
        "create table numbered (id integer auto_increment primary key,"
        " value integer)")
    lease = pool.connection()
    cursor = lease.cursor(**options)
    cursor.execute("insert into numbered (value) values (5)")
    lease.commit()
    lease.close()
    with pytest.warns(PendingDeprecationWarning):
        assert cursor.lastrowid == 1
    with pytest.warns(PendingDeprecationWarning):
        assert cursor.rowcount == 1


@pytest.mark.parametrize("act", [
    lambda cursor: cursor.execute("select 1"),
    lambda cursor: cursor.executemany("select %s", [(1,)]),
    lambda cursor: cursor.callproc("it"),
    lambda cursor: cursor.nextset(),
    lambda cursor: cursor.scroll(1),
    lambda cursor: cursor.connection,
    lambda cursor: cursor.dbapi_cursor,
], ids=[
    "execute", "executemany", "callproc", "nextset", "scroll", "connection",
    "dbapi_cursor"])
def test_nothing_else_of_a_cursor_can_be_used(act, pool, options):
    cursor = returned(pool, options)
    with pytest.raises(InvalidCursorError, match="given back"):
        act(cursor)


def test_a_cursor_that_was_closed_is_not_read(pool, options):
    cursor = returned(pool, options)
    cursor.close()
    with pytest.raises(InvalidCursorError, match="given back"):
        cursor.fetchall()


def stream(driver):
    """Return the options of a cursor whose rows are on the server."""
    if driver.name in {"psycopg2", "psycopg"}:
        return {"name": "it"}
    if driver.name == "pymysql":
        return {"cursor": driver.load().cursors.SSCursor}
    if driver.name == "mysql.connector":
        return {"buffered": False}
    pytest.skip("this driver has no such cursors")
    return None


@pytest.mark.parametrize("how", READERS)
def test_rows_on_the_server_are_not_read_after_the_return(how, pool, driver):
    lease = pool.connection()
    cursor = lease.cursor(**stream(driver))
    cursor.execute(THREE)
    lease.close()
    with pytest.raises(InvalidCursorError, match=r"before close\(\)"):
        READERS[how](cursor)


def test_a_stale_cursor_that_is_closed_disturbs_nobody(pool, driver):
    lease = pool.connection()
    cursor = lease.cursor(**stream(driver))
    cursor.execute(THREE)
    cursor.fetchone()
    lease.close()
    with pool.connection() as other:
        reader = other.cursor()
        reader.execute(OTHERS)
        assert reader.fetchone()[0] == 7
        cursor.close()
        assert values(reader.fetchall()) == [8, 9]
        reader.execute(THREE)
        assert values(reader.fetchall()) == [1, 2, 3]
        other.commit()


def test_a_stale_cursor_of_another_session_disturbs_no_transaction(
        servers_running):
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)
    pool = PooledDB(driver.load(), maxconnections=1, **driver.parameters())
    lease = pool.connection()
    cursor = lease.cursor("it", withhold=True)
    cursor.execute(THREE)
    lease.cursor().execute("set search_path to public")
    lease.commit()
    lease.close()  # which discards the session, and the cursor with it
    with pool.connection() as other:
        other.cursor().execute("select 1")
        cursor.close()
        assert drivers.ask(other, "select 2") == 2
    pool.close()


def test_a_place_in_the_program_is_reported_once(servers_running):
    driver = ready(drivers.BY_NAME["psycopg2"], servers_running)
    pool = PooledDB(driver.load(), maxconnections=1, **driver.parameters())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            assert returned(pool, {}).fetchone()
    assert [warning.filename for warning in caught] == [__file__]
    pool.close()


def embedded():
    """Yield pools of databases in the process."""
    yield sqlite3, {"database": ":memory:", "check_same_thread": False}
    yield pytest.importorskip("duckdb"), {"database": ":memory:"}


@pytest.mark.parametrize("number", [0, 1], ids=["sqlite3", "duckdb"])
@pytest.mark.parametrize("how", READERS)
def test_rows_of_embedded_databases_are_not_read(how, number):
    if number:
        pytest.importorskip("duckdb")
    creator, options = list(embedded())[number]
    pool = PooledDB(creator, maxconnections=1, **options)
    cursor = returned(pool, {})
    with pytest.raises(InvalidCursorError, match=r"before close\(\)"):
        READERS[how](cursor)
    pool.close()


class StandInCursor:
    """A cursor that holds its rows, or says that it does not."""

    description = (("number",),)
    rowcount = 3

    def __init__(self):
        self.rows = [(1,), (2,), (3,)]

    def execute(self, sql, parameters=None):
        return len(self.rows)

    def fetchall(self):
        rows, self.rows = self.rows, []
        return rows

    def close(self):
        raise AssertionError("This could reach the next borrower.")


class CursorStoreResultMixIn:
    """What mysqlclient calls the cursors whose rows are in the client."""


class CursorUseResultMixIn:
    """What it calls those whose rows are not."""


def stand_in(module, *bases):
    """Return a creator of connections as of a driver, with such cursors."""
    cursor = type("Cursor", (*bases, StandInCursor), {"__module__": module})

    class Connection:
        OperationalError = InterfaceError = InternalError = sqlite3.Error
        open = True

        def cursor(self):
            return cursor()

        def get_autocommit(self):
            return False

        def character_set_name(self):
            return "utf8"

        def ping(self, reconnect=False):
            pass

        commit = rollback = close = ping

    Connection.__module__ = module

    def connect():
        return Connection()
    connect.threadsafety = 1
    return connect


def test_rows_of_mysqlclient_are_read_after_the_return():
    pool = PooledDB(stand_in(
        "MySQLdb.connections", CursorStoreResultMixIn))
    cursor = returned(pool, {})
    with pytest.warns(PendingDeprecationWarning):
        assert values(cursor.fetchall()) == [1, 2, 3]
    cursor.close()


@pytest.mark.parametrize(("module", "base"), [
    ("MySQLdb.connections", CursorUseResultMixIn), ("pymssql", object),
    ("a_stranger", object)])
def test_rows_that_may_not_be_in_the_client_are_not_read(module, base):
    bases = () if base is object else (base,)
    cursor = returned(PooledDB(stand_in(module, *bases)), {})
    with pytest.raises(InvalidCursorError, match=r"before close\(\)"):
        cursor.fetchall()
    with pytest.raises(InvalidCursorError):
        assert cursor.rowcount
