"""What cursors hand out: never the cursor of the driver itself."""

import gc
import sqlite3

import drivers
import pytest

from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB
from dbutils.steady_db import (
    InvalidCursorError,
    SteadyDBConnection,
    SteadyDBCursor,
    connect,
)

# Those whose execute() returns the cursor.
CHAINING = ["sqlite3", "duckdb", "psycopg", "pgdb"]
OTHERS = ["psycopg2", "pg8000.dbapi", "pymysql", "mysql.connector"]


@pytest.fixture
def parameters_of(servers_running, tmp_path):
    """Return how connections of a driver are opened."""
    def parameters(name):
        drivers.load(name)
        if name == "sqlite3":
            return {"database": str(tmp_path / "file"),
                    "check_same_thread": False}
        if name == "duckdb":
            return {"database": str(tmp_path / "duck")}
        driver = drivers.BY_NAME[name]
        driver.port = servers_running(driver.family)
        return driver.parameters()
    return parameters


@pytest.fixture
def pool_of(parameters_of):
    """Make a pool of one connection of a driver."""
    pools = []

    def make(name, **options):
        options.setdefault("maxconnections", 1)
        options.update(parameters_of(name))
        pool = PooledDB(drivers.load(name), **options)
        pools.append(pool)
        return pool
    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def pool(pool_of):
    """A pool of one connection to a file of SQLite."""
    return pool_of("sqlite3")


def new_table(pool):
    with pool.connection() as con:
        cursor = con.cursor()
        cursor.execute("drop table if exists returned")
        cursor.execute("create table returned (id integer)")
        con.commit()


@pytest.fixture
def table(pool):
    new_table(pool)
    return "returned"


@pytest.mark.parametrize("name", CHAINING)
def test_the_most_usual_line_works(pool_of, name):
    with pool_of(name).connection() as db:
        # not in the assertion, where pytest would hold the cursor
        row = db.cursor().execute("select 1").fetchone()
        assert tuple(row) == (1,)


@pytest.mark.parametrize("name", CHAINING)
def test_execute_returns_the_hardened_cursor(pool_of, name):
    with pool_of(name).connection() as db:
        cursor = db.cursor()
        assert cursor.execute("select 1") is cursor
        assert cursor.execute("select 2") is cursor  # a known statement


@pytest.mark.parametrize("name", CHAINING)
def test_what_was_returned_does_not_write_for_the_next_borrower(
        pool_of, name):
    pool = pool_of(name)
    new_table(pool)
    first = pool.connection()
    cursors = [first.cursor(), first.cursor()]
    cursors = [cursors[0].execute("select 1"),
               cursors[1].executemany(
                   "insert into returned values (1)", [()]) or cursors[1]]
    first.commit()
    first.close()
    with pool.connection() as second:
        cursor = second.cursor()
        cursor.execute("delete from returned")
        for old in cursors:
            with pytest.raises(InvalidCursorError):
                old.execute("insert into returned values (1)")
        second.commit()
        cursor.execute("select count(*) from returned")
        assert tuple(cursor.fetchone()) == (0,)


@pytest.mark.parametrize("name", OTHERS)
def test_other_results_of_execute_pass(pool_of, parameters_of, name):
    own = drivers.load(name).connect(**parameters_of(name))
    with pool_of(name).connection() as db:
        for statement in ("select 1", "select 1 union select 2"):
            cursor, other = db.cursor(), own.cursor()
            assert cursor.execute(statement) == other.execute(statement)
            assert cursor.fetchall() == other.fetchall()
    own.close()


def test_none_stays_none(dbapi):
    assert connect(dbapi).cursor().execute("select 1") is None


def test_a_cursor_that_has_moved_is_returned_as_well(tmp_path):
    db = connect(sqlite3, database=str(tmp_path / "file"))
    cursor = db.cursor()
    inner = cursor._cursor
    db.dbapi_connection.close()
    assert cursor.execute("select 1") is cursor
    assert cursor._cursor is not inner


def test_other_methods_that_execute_return_the_hardened_cursor(pool, table):
    with pool.connection() as db:
        cursor = db.cursor()
        script = "insert into returned values (1);"
        assert cursor.executescript(script) is cursor
        assert cursor.executemany(
            "insert into returned values (?)", [(2,)]) is cursor
        method = cursor.executescript
    with pytest.raises(InvalidCursorError):
        method(script)


@pytest.mark.parametrize("maxshared", [0, 1])
def test_the_connection_of_a_cursor_is_the_lease(dbapi, maxshared):
    lease = PooledDB(dbapi, maxshared=maxshared).connection()
    cursor = lease.cursor()
    assert cursor.connection is lease
    cursor.execute("select 1")
    lease.close()
    with pytest.raises(InvalidCursorError):
        cursor.connection  # noqa: B018


def test_the_connection_of_a_cursor_keeps_its_lease(pool):
    cursor = pool.connection().cursor()
    gc.collect()
    lease = cursor.connection
    assert lease.cursor().execute("select 1").fetchone() == (1,)
    cursor.close()
    with pytest.raises(InvalidCursorError, match="closed"):
        cursor.connection  # noqa: B018


def test_the_connection_of_a_cursor_can_be_a_steady_one():
    con = connect(sqlite3, database=":memory:")
    assert con.cursor().connection is con
    con = PersistentDB(sqlite3, database=":memory:").connection()
    cursor = con.cursor()
    assert cursor.connection is con
    cursor.close()
    assert cursor.connection is con
    assert isinstance(con, SteadyDBConnection)


ROWS = "select 1 union select 2 union select 3 order by 1"


@pytest.mark.parametrize("name", [*CHAINING, *OTHERS])
def test_cursors_that_nobody_else_holds_can_be_iterated_over(pool_of, name):
    with pool_of(name).connection() as db:
        if name in CHAINING:
            rows = [tuple(row) for row in db.cursor().execute(ROWS)]
            assert rows == [(1,), (2,), (3,)]
        cursor = db.cursor()
        cursor.execute(ROWS)
        rows = iter(cursor)
        del cursor
        gc.collect()
        assert [tuple(row) for row in rows] == [(1,), (2,), (3,)]


# those whose rows are not in the client
@pytest.mark.parametrize("name", ["sqlite3", "duckdb", "mysql.connector"])
def test_an_iteration_ends_with_the_visit(pool_of, name):
    db = pool_of(name).connection()
    cursor = db.cursor()
    cursor.execute(ROWS)
    rows = iter(cursor)
    unbegun = iter(cursor)
    next(rows)
    db.close()
    for iteration in (rows, unbegun):
        with pytest.raises(InvalidCursorError):
            next(iteration)


def test_rows_can_be_taken_one_by_one(pool):
    with pool.connection() as db:
        cursor = db.cursor().execute(ROWS)
        assert [next(cursor), next(cursor)] == [(1,), (2,)]
    with pytest.raises(InvalidCursorError):
        next(cursor)


def test_the_context_of_a_returned_cursor_is_its_own(pool):
    with pool.connection() as db:
        with db.cursor().execute("select 1") as cursor:
            assert isinstance(cursor, SteadyDBCursor)
        with pytest.raises(sqlite3.ProgrammingError):
            cursor.execute("select 1")


class _MyCursor(sqlite3.Cursor):
    """A cursor that hands itself out in many ways."""

    def itself(self):
        return self

    def each(self):
        yield 1
        yield self

    def execute(self, sql, *parameters, multi=False):
        super().execute(sql, *parameters)
        return self.each() if multi else self


class _MyConnection(sqlite3.Connection):
    """A connection with such cursors."""

    def cursor(self):
        return super().cursor(_MyCursor)


def test_no_method_returns_the_cursor_of_the_driver(pool_of):
    db = pool_of("sqlite3", factory=_MyConnection).connection()
    cursor = db.cursor()
    assert cursor.itself() is cursor
    assert list(cursor.each()) == [1, cursor]
    assert list(cursor.execute("select 1", multi=True)) == [1, cursor]
    methods = [cursor.itself, cursor.each]
    rest = cursor.each()
    next(rest)
    db.close()
    for use in (*methods, lambda: next(rest)):
        with pytest.raises(InvalidCursorError):
            use()


# What is special about psycopg.


def test_streams_and_results_hand_out_the_hardened_cursor(pool_of):
    db = pool_of("psycopg").connection()
    assert list(db.cursor().stream(ROWS)) == [(1,), (2,), (3,)]
    cursor = db.cursor()
    cursor.executemany("select %s", [(1,), (2,)], returning=True)
    assert cursor.nextset()
    if hasattr(cursor, "results"):
        cursor.executemany("select %s", [(1,), (2,)], returning=True)
        assert all(result is cursor for result in cursor.results())


def test_a_stream_that_was_not_read_to_its_end_keeps_nobody_waiting(pool_of):
    pool = pool_of("psycopg")
    db = pool.connection()
    stream = db.cursor().stream("select * from generate_series(1, 100000)")
    assert next(stream) == (1,)
    db.close()  # this would wait for the end of the stream
    with pytest.raises(InvalidCursorError):
        next(stream)
    with pool.connection() as db:
        assert db.cursor().execute("select 1").fetchone() == (1,)


def test_a_copy_keeps_its_cursor(pool_of):
    pool = pool_of("psycopg")
    new_table(pool)
    with pool.connection() as db:
        with db.cursor().copy("copy returned from stdin") as copy:
            copy.write_row((5,))
        db.commit()
        cursor = db.cursor().execute("select id from returned")
        assert cursor.fetchall() == [(5,)]


def test_server_side_cursors_can_be_chained(pool_of):
    with pool_of("psycopg").connection() as db:
        assert db.cursor("named").execute(ROWS).fetchmany(2) == [(1,), (2,)]
        assert list(db.cursor("other").execute(ROWS)) == [(1,), (2,), (3,)]


# Cursors without a cursor of the driver.

NAMES = [
    "arraysize", "callproc", "connection", "dbapi_cursor", "description",
    "execute", "executemany", "fetchall", "fetchmany", "fetchone",
    "no_failover", "rowcount", "something"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_invalid_cursors_cannot_be_looked_up(dbapi, name):
    con = connect(dbapi)
    cursor = con.cursor()
    cursor.execute("select 1")
    inner, execute = cursor._cursor, cursor.execute
    cursor._cursor = None
    assert cursor._cursor is None
    assert cursor._con is con
    with pytest.raises(InvalidCursorError):
        getattr(cursor, name)
    with pytest.raises(InvalidCursorError):
        execute("select 1")  # it was looked up before
    cursor._cursor = inner
    assert type(cursor).__name__ == "SteadyDBCursor"
    assert cursor.fetchone() == ("1",)


def test_invalid_cursors_can_be_closed(dbapi):
    cursor = connect(dbapi).cursor()
    cursor._cursor = None
    cursor._cursor = None
    assert isinstance(cursor, SteadyDBCursor)
    with pytest.raises(InvalidCursorError):
        iter(cursor)
    with pytest.raises(InvalidCursorError):
        cursor.arraysize = 5
    with cursor:
        cursor.setinputsizes([5])
    cursor.close()


class _MyHardenedCursor(SteadyDBCursor):
    """A cursor of the program's own class."""

    def work(self):
        return "work"


def test_cursors_of_other_classes_become_invalid_as_well(dbapi):
    cursor = _MyHardenedCursor(connect(dbapi))
    inner = cursor._cursor
    for _ in range(2):
        cursor._cursor = None
        assert isinstance(cursor, _MyHardenedCursor)
        with pytest.raises(InvalidCursorError):
            cursor.work  # noqa: B018
        cursor._cursor = inner
        assert cursor.work() == "work"


def test_cursors_of_an_ended_visit_stay_unusable(dbapi):
    lease = PooledDB(dbapi).connection()
    cursor = lease.cursor()
    inner = cursor._cursor
    cursor._cursor = None
    lease.close()
    cursor._cursor = inner
    with pytest.raises(InvalidCursorError):
        cursor.execute("select 1")
