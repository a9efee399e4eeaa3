"""What is written to a cursor is written to the one of the driver."""

import sqlite3

import drivers
import pytest

from dbutils.pooled_db import PooledDB
from dbutils.steady_db import InvalidCursorError, SteadyDBCursor, connect


@pytest.fixture
def steady(servers_running):
    """Open steady connections with real drivers."""
    opened = []

    def make(name, **options):
        driver = drivers.BY_NAME[name]
        driver.load()
        driver.port = servers_running(driver.family)
        con = connect(driver.load(), **options, **driver.parameters())
        opened.append(con)
        return con
    yield make
    for con in opened:
        con._close()


@pytest.fixture
def con(tmp_path):
    """A steady connection to a file of SQLite."""
    con = connect(sqlite3, database=str(tmp_path / "file"))
    yield con
    con.close()


ROWS = "select 1 union select 2 union select 3 order by 1"


def kill(con, name):
    """Let the server end a session."""
    driver = drivers.BY_NAME[name]
    session = drivers.ask(con, driver.who_am_i)
    con.rollback()
    driver.kill(session)


@pytest.mark.parametrize(
    "name", ["psycopg2", "psycopg", "pgdb", "pg8000.dbapi", "pymysql"])
def test_the_array_size_is_used_also_after_a_reconnect(steady, name):
    con = steady(name)
    cursor = con.cursor()
    cursor.arraysize = 2
    # looking at cursor._cursor would hand out the driver's cursor
    assert cursor.arraysize == cursor._own_cursor.arraysize == 2
    inner = cursor._own_cursor
    for _ in range(2):
        cursor.execute(ROWS)
        assert len(cursor.fetchmany()) == 2
        cursor.fetchall()
        kill(con, name)
    cursor.execute(ROWS)
    assert cursor._own_cursor is not inner
    assert cursor.arraysize == cursor._cursor.arraysize == 2


def test_the_array_size_of_sqlite_is_used(con):
    cursor = con.cursor()
    cursor.arraysize = 2
    assert len(cursor.execute(ROWS).fetchmany()) == 2
    with pytest.raises(TypeError):  # as the driver says
        cursor.arraysize = "two"
    assert cursor.arraysize == 2


def as_dict(cursor, row):
    return {column[0]: value for column, value in zip(cursor.description, row)}


def test_row_factories_are_used_also_after_a_reconnect(con):
    cursor = con.cursor()
    cursor.row_factory = as_dict
    assert cursor.row_factory is as_dict
    assert cursor.execute("select 1 as a").fetchone() == {"a": 1}
    con.dbapi_connection.close()
    assert cursor.execute("select 2 as a").fetchone() == {"a": 2}


def test_server_side_cursors_can_be_tuned(steady):
    cursor = steady("psycopg2").cursor("named")
    cursor.itersize = 2
    cursor.withhold = True
    cursor.scrollable = False
    inner = cursor._cursor
    assert (inner.itersize, inner.withhold, inner.scrollable) == (
        2, True, False)
    cursor.execute(ROWS)
    assert [row[0] for row in cursor] == [1, 2, 3]


def test_row_factories_of_psycopg_are_used(steady):
    rows = drivers.load("psycopg.rows")
    con = steady("psycopg")
    cursor = con.cursor()
    cursor.row_factory = rows.dict_row
    assert cursor.row_factory is rows.dict_row
    assert cursor.execute("select 1 as a").fetchone() == {"a": 1}
    kill(con, "psycopg")
    assert cursor.execute("select 2 as a").fetchone() == {"a": 2}


def test_attributes_move_with_a_shared_cursor(dbapi):
    pool = PooledDB(dbapi, maxshared=2)
    first, _second, third = (pool.connection() for _ in range(3))
    assert first._con is third._con
    cursor = first.cursor()
    cursor.arraysize = 2
    inner = cursor._cursor
    third.begin()
    cursor.execute("select 1")
    assert cursor._cursor is not inner
    assert cursor._cursor.arraysize == cursor.arraysize == 2


def test_the_cursor_that_repeats_a_statement_has_the_attributes(dbapi):
    """Not only afterwards."""
    cursor = connect(dbapi, failures=dbapi.Error).cursor()
    cursor.arraysize = 7
    sizes = []
    execute = dbapi.Cursor.execute

    class Watched(dbapi.Cursor):
        """A cursor that notes its size when it executes."""

        def execute(self, *args):
            sizes.append(self.arraysize)
            return execute(self, *args)

    dbapi.server.fail("execute", times=2)
    before, dbapi.Cursor = dbapi.Cursor, Watched
    try:
        cursor.execute("select 1")
    finally:
        dbapi.Cursor = before
    assert sizes
    assert set(sizes) == {7}


def test_what_the_driver_refuses_is_kept(con):
    cursor = con.cursor()
    cursor.remark = "mine"
    with pytest.raises(AttributeError):
        cursor._cursor.remark  # noqa: B018
    assert cursor.remark == "mine"
    cursor.remark = "still mine"
    assert cursor.remark == "still mine"
    del cursor.remark
    assert not hasattr(cursor, "remark")
    with pytest.raises(AttributeError):
        del cursor.remark


def test_what_the_driver_takes_can_be_deleted(dbapi):
    cursor = connect(dbapi).cursor()
    usual = cursor.arraysize
    cursor.arraysize = usual + 1
    assert cursor._cursor.arraysize == usual + 1
    del cursor.arraysize
    assert cursor._cursor.arraysize == usual
    cursor._own_open()
    assert cursor.arraysize == usual
    with pytest.raises(AttributeError):
        del cursor.arraysize


def test_a_name_that_the_driver_does_not_have_stays_ours(dbapi):
    """As with connections: only the names of the driver are looked at."""
    cursor = connect(dbapi).cursor()
    cursor.remark = "mine"
    assert not hasattr(cursor._cursor, "remark")
    cursor._own_open()
    assert cursor.remark == "mine"


class _WithFixedSize:
    """Makes the size of the cursors of a driver one that cannot be set."""

    @property
    def fixed(self):
        return 1


class _Early(SteadyDBCursor):
    """A cursor that sets an attribute of the driver before it is opened."""

    def __init__(self, *args, **kwargs):
        self.fixed = 2
        super().__init__(*args, **kwargs)


def test_what_the_cursor_of_the_driver_has_but_refuses_is_kept(
        dbapi, monkeypatch):
    kind = type("Cursor", (_WithFixedSize, dbapi.Cursor), {})
    monkeypatch.setattr(dbapi, "Cursor", kind)
    con = connect(dbapi)
    cursor = con.cursor()
    assert cursor.fixed == 1
    cursor.fixed = 3
    assert (cursor.fixed, con.cursor().fixed, _Early(con).fixed) == (3, 1, 2)
    cursor.fixed = 4
    assert cursor.fixed == 4
    assert cursor._cursor.fixed == 1
    del cursor.fixed
    assert cursor.fixed == 1
    assert "fixed" not in dir(cursor)


def test_cursors_of_another_class_bring_their_own_attributes(dbapi):
    """Also if many classes were seen before."""
    for number in range(1002):
        class Other(dbapi.Cursor):
            """A cursor with a setting."""

            setting = 0

        dbapi.Cursor, before = Other, dbapi.Cursor
        try:
            cursor = connect(dbapi).cursor()
        finally:
            dbapi.Cursor = before
        if number % 1000 == 1:
            cursor.setting = number
            assert cursor._cursor.setting == number


def test_inner_names_and_names_of_the_class_stay_ours(dbapi):
    cursor = connect(dbapi).cursor()
    cursor._mark = 1
    cursor.fetchone = lambda: "mine"
    assert not hasattr(cursor._cursor, "_mark")
    assert cursor.fetchone() == "mine"
    assert cursor._cursor.fetchone != cursor.fetchone
    with pytest.raises(AttributeError):
        cursor.connection = None


def test_attributes_cannot_be_written_after_the_visit(dbapi):
    lease = PooledDB(dbapi).connection()
    cursor = lease.cursor()
    cursor.arraysize = 2
    inner = cursor._cursor
    lease.close()
    with pytest.raises(InvalidCursorError):
        cursor.arraysize = 3
    assert inner.arraysize == 2


class _Counting(SteadyDBCursor):
    """A cursor of the program's own class with attributes of its own."""

    total = 0

    def __init__(self, *args, **kwargs):
        self.early = 1
        super().__init__(*args, **kwargs)
        self.late = 2


def test_own_classes_may_have_attributes(dbapi):
    cursor = _Counting(connect(dbapi))
    cursor.total += 1
    assert (cursor.early, cursor.late, cursor.total) == (1, 2, 1)
    assert not hasattr(cursor._cursor, "total")


def test_reading_what_was_written_does_not_count_as_work(steady):
    con = steady("psycopg2")
    cursor = con.cursor()
    cursor.itersize = 3
    con._own_session.work = False
    assert cursor.itersize == 3
    assert con._own_session.work is False
    assert not con._own_session.settings_changed


def test_what_a_driver_computes_is_not_read_before_the_program_does(con):
    asked = []

    class Odd(sqlite3.Cursor):
        @property
        def plan(self):
            asked.append(self)
            raise sqlite3.NotSupportedError("not with this cursor")

        def __init__(self, *args):
            super().__init__(*args)
            self.pages = 7

    cursor = con.cursor(Odd)
    assert cursor.execute("select 1").fetchone() == (1,)
    assert asked == []
    with pytest.raises(sqlite3.NotSupportedError):
        cursor.plan  # noqa: B018 - it is asked
    cursor.pages = 8
    assert cursor._own_cursor.pages == cursor.pages == 8
