"""Hardened DB-API 2 connections."""

import gc
import sqlite3
import weakref

import pytest

from dbutils.pooled_db import PooledDB
from dbutils.steady_db import (
    InvalidCursorError,
    SteadyDBConnection,
    SteadyDBCursor,
    UsualCursor,
    connect,
)


def run(con, *statements):
    """Execute statements with a cursor each, return the last row."""
    row = None
    for statement in statements:
        with con.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
    return row and row[0]


@pytest.fixture
def con(dbapi):
    return connect(dbapi)


# Making a connection.


def test_connect_returns_a_connection_of_the_driver(dbapi):
    con = connect(dbapi, database="test", user="me")
    assert isinstance(con, SteadyDBConnection)
    assert con.dbapi_connection is con._con
    assert (con._con.database, con._con.user) == ("test", "me")
    assert con.dbapi() is dbapi
    assert con.threadsafety() == 2
    assert run(con, "select one") == "one"


def test_positional_arguments_reach_the_driver(dbapi):
    con = connect(dbapi, 0, None, None, 1, True, "test", "me")
    assert (con._con.database, con._con.user) == ("test", "me")


def test_isfatal_may_be_the_first_of_them(dbapi):
    con = connect(dbapi, 0, None, None, 1, True, bool, "test")
    assert con._isfatal is bool
    assert con._con.database == "test"
    con = connect(dbapi, 0, None, None, 1, True, None, "test")
    assert con._isfatal is None
    assert con._con.database == "test"


@pytest.mark.parametrize("options", [
    {"maxusage": "many"}, {"failures": 42}, {"failures": int},
    {"isfatal": "no"}, {"ping": (1, 2, 3)}, {"setsession": "set x"}])
def test_senseless_options_are_rejected_by_name(dbapi, server, options):
    with pytest.raises(TypeError, match=f"'{next(iter(options))}'"):
        connect(dbapi, **options)
    assert server.connections == []


def test_the_session_is_prepared_by_any_sequence(dbapi):
    for statements in (["set a", "set b"], ("set a", "set b"),
                       dict.fromkeys(["set a", "set b"])):
        con = connect(dbapi, setsession=statements)
        assert con._setsession_sql == ("set a", "set b")
        assert con._con.session == ["a", "b"]


def test_a_connection_that_cannot_be_prepared_is_closed(dbapi, server):
    with pytest.raises(dbapi.ProgrammingError):
        connect(dbapi, setsession=["nonsense"])
    assert not server.connections[0].valid


def test_an_error_of_connect_is_raised(dbapi):
    with pytest.raises(dbapi.OperationalError):
        connect(dbapi, database="error")


# Failing over.


def test_a_lost_connection_is_replaced_and_the_statement_repeated(con):
    with con.cursor() as cursor:
        con._con.cut()
        cursor.execute("select one")
        assert cursor.fetchone() == ("one",)
    assert con._con.serial == 2
    assert con._usage == 1
    assert con._con.open_cursors == 0


def test_the_session_is_prepared_again(dbapi):
    con = connect(dbapi, setsession=["set a"])
    con._con.cut()
    assert run(con, "select one") == "one"
    assert con._con.session == ["a"]


def test_a_cursor_of_a_lost_connection_is_one_of_a_new_one(dbapi, con):
    old = con._con
    old.cut()
    with con.cursor() as cursor:
        assert cursor.dbapi_cursor.connection is con._con
    assert con._con is not old


def test_all_calls_of_procedures_and_statements_are_hardened(con):
    cursor = con.cursor()
    con._con.cut()
    assert cursor.callproc("proc", (1, 2)) == (1, 2)
    con._con.cut()
    cursor.executemany("set x", [1, 2])
    assert con._con.session == [("set x", 1), ("set x", 2)]
    assert con._usage == 1


def test_an_error_of_another_kind_is_raised_at_once(dbapi, server, con):
    with pytest.raises(dbapi.ProgrammingError):
        run(con, "nonsense")
    assert server.calls["execute"] == 1
    assert con._usage == 0


def test_an_error_that_comes_again_is_raised(dbapi, server, con):
    old = con._con
    with pytest.raises(dbapi.OperationalError, match="statement timeout"):
        run(con, "timeout")
    assert server.calls["execute"] == 3  # same connection, and another one
    assert con._con is old
    assert not server.connections[1].valid


def test_another_error_on_the_new_connection_is_raised(dbapi, server, con):
    cursor = con.cursor()
    con._con.cut()
    with pytest.raises(dbapi.ProgrammingError):
        cursor.execute("nonsense")
    assert con._con.valid
    assert cursor._cursor.connection is con._con
    assert con._usage == 1


def test_when_there_is_no_server_the_first_error_is_raised(
        dbapi, server, con):
    cursor = con.cursor()
    server.is_down = True
    con._con.cut()
    with pytest.raises(dbapi.InternalError, match="closed"):
        cursor.execute("select one")
    with pytest.raises(dbapi.InternalError, match="closed"):
        con.cursor()
    server.is_down = False
    cursor.execute("select one")
    assert cursor.fetchone() == ("one",)


def test_a_new_connection_without_cursor_is_closed(dbapi, server, con):
    cursor = con.cursor()
    con._con.cut()
    server.fail("cursor", times=9)
    with pytest.raises(dbapi.InternalError):
        cursor.execute("select one")
    assert all(not new.valid for new in server.connections)


class Interrupt(BaseException):
    """As if Ctrl-C had been pressed."""

    def __init__(self, reason):
        super().__init__(reason)


@pytest.mark.parametrize("call", ["connect", "cursor", "execute"])
def test_an_interrupt_leaves_no_connection_open(server, con, call):
    cursor = con.cursor()
    con._con.cut()
    server.fail(call, Interrupt, after=call == "execute")
    with pytest.raises(Interrupt):
        cursor.execute("select one")
    assert [new.valid for new in server.connections].count(True) <= 1
    cursor.execute("select one")
    assert cursor.fetchone() == ("one",)


def test_failures_can_be_other_exceptions(dbapi, server):
    con = connect(dbapi, failures=dbapi.ProgrammingError)
    assert con._failure is dbapi.ProgrammingError
    with pytest.raises(dbapi.OperationalError):
        run(con, "timeout")
    assert server.calls["execute"] == 1
    with pytest.raises(dbapi.ProgrammingError):
        run(con, "nonsense")
    assert server.calls["execute"] == 4


def test_isfatal_can_veto(dbapi, server):
    con = connect(dbapi, isfatal=lambda error: "timeout" not in str(error))
    with pytest.raises(dbapi.OperationalError):
        run(con, "timeout")
    assert server.calls["execute"] == 1
    con._con.cut()
    assert run(con, "select one") == "one"


def test_isfatal_can_veto_the_replacement_for_a_cursor(dbapi, server):
    con = connect(dbapi, isfatal=lambda error: False)
    con._con.cut()
    with pytest.raises(dbapi.InternalError):
        con.cursor()
    assert server.calls["connect"] == 1


def test_no_failover_suspends_it_for_a_while(dbapi, server, con):
    with con.cursor() as cursor:
        with cursor.no_failover() as same, cursor.no_failover():
            assert same is cursor
            with pytest.raises(dbapi.OperationalError):
                cursor.execute("timeout")
        assert server.calls["execute"] == 1
        assert con._usage == 0
        with pytest.raises(dbapi.OperationalError):
            cursor.execute("timeout")
        assert server.calls["execute"] == 4


def test_sizes_survive_a_failover(con):
    cursor = con.cursor()
    cursor.setinputsizes([7])
    cursor.setoutputsize(9)
    cursor.setoutputsize(8, 1)
    con._con.cut()
    cursor.execute("get sizes")
    assert cursor.fetchone() == (([7], {None: 9, 1: 8}),)
    cursor.execute("get sizes")
    assert cursor.fetchone() == (([], {}),)


def test_sizes_are_kept_for_the_next_statement(con):
    cursor = con.cursor()
    cursor.setinputsizes([7])
    cursor.callproc("proc")
    cursor.execute("get sizes")
    assert cursor.fetchone() == (([7], {}),)


def test_the_arguments_of_a_cursor_are_used_again(con):
    cursor = con.cursor("named")
    con._con.cut()
    cursor.execute("select one")
    assert cursor._cursor.name == "named"


def test_no_reference_to_an_error_keeps_a_connection_alive(dbapi):
    con = connect(dbapi)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(dbapi.ProgrammingError):
            run(con, "nonsense")
        con.close()
        assert run(con, "select one") == "one"
        lost = weakref.ref(con)
        del con
        assert lost() is None
    finally:
        gc.enable()


# Transactions.


def test_in_a_transaction_errors_are_raised_and_nothing_repeated(
        dbapi, server, con):
    cursor = con.cursor()
    con.begin()
    cursor.execute("set a")
    con._con.cut()
    with pytest.raises(dbapi.InternalError):
        cursor.execute("set b")
    assert not con._transaction
    assert con._con.serial == 2  # replaced for what comes now
    assert con._con.session == []
    cursor.execute("set c")
    assert con._con.session == ["c"]


def test_a_cursor_is_not_replaced_in_a_transaction(dbapi, con):
    con.begin()
    con._con.cut()
    with pytest.raises(dbapi.InternalError):
        con.cursor()
    assert not con._transaction
    assert con._con.valid
    assert con.cursor()


def test_the_transaction_is_over_even_if_nothing_can_be_replaced(
        dbapi, server, con):
    cursor = con.cursor()
    server.is_down = True
    for use in (lambda: cursor.execute("set a"), con.cursor):
        con.begin()
        con._con.cut()
        with pytest.raises(dbapi.InternalError):
            use()
        assert not con._transaction


def test_an_error_that_is_no_failure_does_not_end_the_transaction(
        dbapi, con):
    con.begin()
    with pytest.raises(dbapi.ProgrammingError):
        run(con, "nonsense")
    assert con._transaction


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_transaction_that_cannot_be_ended_is_not_repeated(
        dbapi, server, con, end):
    con.begin()
    con._con.cut()
    with pytest.raises(dbapi.InternalError):
        getattr(con, end)()
    assert server.calls[end] == 1
    assert not con._transaction
    assert con._con.serial == 2
    getattr(con, end)()
    assert con._con.session == [end]


def test_an_error_of_commit_is_raised_without_a_server_too(
        dbapi, server, con):
    server.is_down = True
    con._con.cut()
    with pytest.raises(dbapi.InternalError):
        con.commit()


def test_the_drivers_own_methods_for_transactions_are_used(server, con):
    con.begin()
    con.cancel()
    server.has_begin = True
    con.begin("xid")
    assert con._transaction
    con.cancel()
    assert not con._transaction
    assert server.calls["begin"] == server.calls["cancel"] == 1


def test_a_context_is_a_transaction(con):
    with con as same:
        assert same is con
    assert con._con.session == ["commit"]
    with pytest.raises(KeyError), con:
        raise KeyError
    assert con._con.session == ["commit", "rollback"]


# Usage limit and validity.


def test_the_connection_is_replaced_when_it_was_used_often_enough(
        dbapi, server):
    con = connect(dbapi, maxusage=3, setsession=["set a"])
    usages = []
    for _ in range(7):
        run(con, "select one")
        usages.append((con._con.serial, con._usage))
    assert usages == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1)]
    assert con._con.session == ["a"]


def test_a_cursor_outlives_the_replacement(dbapi):
    con = connect(dbapi, maxusage=1)
    cursor = con.cursor()
    for number in range(1, 4):
        cursor.execute("select one")
        assert cursor.fetchone() == ("one",)
        assert con._con.serial == number


def test_the_usage_limit_waits_for_the_end_of_the_transaction(dbapi):
    con = connect(dbapi, maxusage=1)
    con.begin()
    run(con, "set a", "set b")
    assert con._con.session == ["a", "b"]
    con.commit()
    run(con, "set c")
    assert con._con.session == ["c"]


def test_neither_isfatal_nor_no_failover_keeps_a_used_up_connection(dbapi):
    con = connect(dbapi, maxusage=1, isfatal=lambda error: False)
    with con.cursor() as cursor, cursor.no_failover():
        cursor.execute("set a")
        cursor.execute("set b")
    assert con._con.serial == 2


def test_a_used_up_connection_without_server_says_why(dbapi, server):
    con = connect(dbapi, maxusage=1)
    cursor = con.cursor()
    cursor.execute("set a")
    server.is_down = True
    for use in (lambda: cursor.execute("set b"), con.cursor):
        with pytest.raises(
                dbapi.OperationalError, match=r"1 times \(maxusage=1\)"):
            use()


def test_a_connection_marked_as_not_valid_is_replaced_at_the_next_use(con):
    assert con.valid is True
    cursor = con.cursor()
    con.valid = False
    assert con.valid is False
    cursor.execute("select one")
    assert con._con.serial == 2
    assert con.valid is True
    con.valid = False
    con.cursor()
    assert con._con.serial == 3


def test_the_mark_waits_for_the_end_of_the_transaction(con):
    con.begin()
    con.valid = False
    run(con, "set a")
    con.commit()
    assert con._con.session == ["a", "commit"]
    run(con, "set b")
    assert con._con.session == ["b"]


def test_a_marked_connection_without_server_says_why(dbapi, server, con):
    con.valid = False
    server.is_down = True
    with pytest.raises(dbapi.OperationalError, match="not valid"):
        con.cursor()


def test_the_mark_can_be_taken_back(con):
    con.valid = False
    con.valid = True
    run(con, "select one")
    assert con._con.serial == 1


def test_a_closed_connection_is_not_valid(con):
    con.close()
    assert con.valid is False


# Pings.


def test_a_driver_without_ping_is_asked_only_once(dbapi, con):
    assert con._ping == 1
    assert con._ping_check() is None
    assert con._ping == 0


def test_a_lost_connection_is_replaced_by_the_check(server, con):
    server.has_ping = True
    assert con._ping_check() is True
    con._con.cut()
    assert con._ping_check(reconnect=False) is False
    assert con._con.serial == 1
    assert con._ping_check() is True
    assert con._con.serial == 2


def test_the_check_fails_when_there_is_no_server(server, con):
    server.has_ping = True
    server.is_down = True
    con._con.cut()
    assert con._ping_check() is False


def test_the_check_does_not_tear_a_transaction_apart(server, con):
    server.has_ping = True
    con.begin()
    con._con.cut()
    assert con._ping_check() is False
    assert con._con.serial == 1


def test_a_marked_connection_is_replaced_by_the_check(server, con):
    con.valid = False
    assert con._ping_check() is True
    assert con._con.serial == 2


@pytest.mark.parametrize(("ping", "calls"), [
    (0, 0), (1, 0), (2, 1), (4, 2), (6, 3), (7, 3), (None, 0)])
def test_the_moments_of_checks(dbapi, server, ping, calls):
    server.has_ping = True
    con = connect(dbapi, ping=ping)
    with con.cursor() as cursor:
        cursor.execute("select one")
        cursor.execute("select two")
    assert server.calls["ping"] == calls
    con.begin()
    run(con, "select three")
    assert server.calls["ping"] == calls


def test_the_check_can_be_an_sql_statement(dbapi, server):
    con = connect(dbapi, ping=(4, "select ping"))
    cursor = con.cursor()
    con._con.cut()
    cursor.execute("select one")
    executed = [entry for entry in server.log if entry[0] == "execute"]
    assert executed == [("execute", 1, "select one"),  # its own cursor
                        ("execute", 2, "select one")]
    assert con._con.serial == 2
    assert con._ping_check(4) is True
    assert server.log[-2:] == [
        ("execute", 2, "select ping"), ("close cursor", 2)]


def test_the_check_can_be_a_function(dbapi):
    asked = []
    con = connect(dbapi, ping=lambda con: asked.append(con) or con.valid)
    assert con._ping == 1
    assert con._ping_check() is True
    con._con.cut()
    assert con._ping_check() is True
    assert [old.serial for old in asked] == [1, 1]


def test_ping_is_the_drivers(dbapi, server, con):
    with pytest.raises(AttributeError):
        con.ping()
    server.has_ping = True
    con.ping(True)
    assert server.calls["ping"] == 1


def test_a_ping_without_parameters_is_made_without(dbapi, con):
    class Driver:
        """A connection whose ping() takes no flag."""

        def ping(self):
            """Tell that it is alive."""
            return 1

        def close(self):
            """Do nothing."""

    con._con = Driver()
    assert con._ping_check() is True


# Closing.


def test_close_can_be_called_again(server, con):
    con.close()
    con.close()
    assert server.calls["close"] == 1


def test_an_error_of_close_is_swallowed(server, con):
    server.fail("close")
    con.close()
    assert con._closed


def test_a_closed_connection_is_opened_by_its_next_use(con):
    con.close()
    assert run(con, "select one") == "one"
    assert con.valid


def test_a_connection_that_is_not_closeable_stays_open(dbapi, server):
    con = connect(dbapi, closeable=False)
    con.close()
    assert con._con.valid
    assert con._con.session == []
    con.begin()
    con.close()
    assert con._con.session == ["rollback"]
    con._close()
    assert not con._con.valid


def test_a_dropped_connection_is_closed(dbapi):
    con = connect(dbapi)
    driver_con = con._con
    del con
    assert not driver_con.valid


def test_reset_rolls_back_what_was_begun_or_is_forced(server, con):
    con._reset()
    con._reset(force=True)
    con.begin()
    con._reset()
    assert con._con.session == ["rollback"] * 2
    server.fail("rollback")
    con._reset(force=True)
    assert con._con.serial == 2
    con.close()
    con._reset(force=True)
    assert server.calls["rollback"] == 3


# Cursors.


def test_a_cursor_needs_a_steady_connection():
    for con in (None, object(), sqlite3):
        with pytest.raises(TypeError, match="not a SteadyDBConnection"):
            SteadyDBCursor(con)


def test_a_cursor_is_closed_once(con):
    cursor = con.cursor()
    assert con._con.open_cursors == 1
    cursor.close()
    cursor.close()
    assert con._con.open_cursors == 0


def test_a_dropped_cursor_is_closed(con):
    cursor = con.cursor()
    del cursor
    assert con._con.open_cursors == 0


def pending(kind):
    """Return a lease and a cursor on a driver cursor with unread rows."""
    class Connection(sqlite3.Connection):
        def cursor(self):
            return super().cursor(kind)

    pool = PooledDB(
        sqlite3, 1, database=":memory:", check_same_thread=False,
        factory=Connection)
    db = pool.connection()
    cursor = db.cursor()
    cursor.execute("create table numbers as select 1 union select 2")
    cursor.execute("select * from numbers")
    assert cursor.fetchone() == (1,)
    return db, cursor


def test_a_driver_cursor_that_frees_itself_is_only_dropped():
    db, cursor = pending(sqlite3.Cursor)
    assert type(cursor) is not UsualCursor
    assert not hasattr(type(cursor).__del__, "__code__")  # it is in C
    del cursor
    db.cursor().execute("drop table numbers")


def test_a_driver_cursor_with_another_close_is_closed_when_it_is_dropped():
    closed = []

    class Cursor(sqlite3.Cursor):
        def close(self):
            closed.append(self.rowcount)
            super().close()

    db, cursor = pending(Cursor)
    assert type(cursor) is UsualCursor
    before = len(closed)  # the library has made cursors, too
    del cursor
    assert len(closed) == before + 1
    db.cursor().execute("drop table numbers")


def test_further_arguments_are_repeated_too(con, dbapi, monkeypatch):
    executed = []
    execute = dbapi.Cursor.execute

    def note(cursor, *args):
        executed.append(args)
        return execute(cursor, *args[:2])

    monkeypatch.setattr(dbapi.Cursor, "execute", note)
    cursor = con.cursor()
    cursor.execute("select one", (), "further")
    con._con.cut()
    cursor.execute("select one", (), "further")
    assert cursor.fetchone() == ("one",)
    assert executed == [("select one", (), "further")] * 3


def test_a_closed_cursor_is_opened_by_its_next_use(con):
    cursor = con.cursor()
    cursor.close()
    cursor.execute("select one")
    assert cursor.fetchone() == ("one",)


def test_a_cursor_that_was_moved_can_be_used_after_close(con):
    cursor = con.cursor()
    con._con.cut()
    cursor.execute("select one")
    con.begin()
    cursor.close()
    assert con._con.open_cursors == 0
    cursor.execute("select two")
    assert cursor.fetchone() == ("two",)
    assert con._con.serial == 2


def test_a_cursor_that_cannot_be_made_is_an_error(dbapi, con):
    with pytest.raises(dbapi.OperationalError, match="no such cursor"):
        con.cursor("error")


def test_a_cursor_without_driver_cursor_is_invalid(con):
    cursor = con.cursor()
    assert cursor.dbapi_cursor is cursor._cursor
    cursor._cursor = None
    for use in (lambda: cursor.execute("select one"),
                lambda: cursor.description, lambda: cursor.dbapi_cursor,
                lambda: iter(cursor)):
        with pytest.raises(InvalidCursorError, match="could not be opened"):
            use()
    cursor._closed = True


def test_a_cursor_has_what_the_drivers_cursor_has(con):
    cursor = con.cursor()
    assert cursor.arraysize == 1
    with pytest.raises(AttributeError, match="nothing"):
        cursor.nothing()


def test_rows_can_be_iterated_over():
    con = connect(sqlite3, database=":memory:")
    with con.cursor() as cursor:
        cursor.execute("values (1), (2)")
        assert list(cursor) == [(1,), (2,)]
        cursor.execute("values (1), (2)")
        assert [row for row in cursor] == [(1,), (2,)]  # noqa: C416
    con.close()


def test_rows_can_be_iterated_over_without_help_of_the_driver(con):
    cursor = con.cursor()
    cursor.execute("select one")
    assert list(cursor) == [("one",)]


def test_sqlite_works_out_of_the_box():
    con = connect(sqlite3, database=":memory:")
    with con:
        con.cursor().execute("create table test (x integer)")
        con.cursor().executemany("insert into test values (?)", [(1,), (2,)])
    with con.cursor() as cursor:
        cursor.execute("select sum(x) from test")
        assert cursor.fetchone() == (3,)
    assert con.threadsafety() == sqlite3.threadsafety
    con.close()


# Inner names.


def test_inner_names_of_dbutils_3_can_be_read(dbapi):
    con = connect(dbapi, 5, ("set a",), None, (2, bool), False, user="me")
    assert con._creator == dbapi.connect
    assert (con._args, con._kwargs) == ((), {"user": "me"})
    assert (con._maxusage, con._setsession_sql) == (5, ("set a",))
    assert con._failures == (
        dbapi.OperationalError, dbapi.InterfaceError, dbapi.InternalError)
    assert con._failure is dbapi.OperationalError
    assert (con._ping, con._pinger, con._isfatal) == (2, bool, None)
    assert (con._usage, con._transaction, con._closed) == (0, False, False)
    assert (con._dbapi, con._threadsafety) == (dbapi, 2)
    assert con._closeable is False
    cursor = con.cursor("x")
    assert cursor._con is con
    assert (cursor._args, cursor._kwargs) == (("x",), {})
    assert cursor._no_failover == 0
    assert con._cursor().connection is con._con


def test_inner_names_of_dbutils_3_can_be_written(dbapi, con):
    con._setsession_sql = ["set b"]
    con._con.cut()
    run(con, "select one")
    assert con._con.session == ["b"]
    con._transaction = True
    con._con.cut()
    with pytest.raises(dbapi.InternalError):
        con.cursor()
    con._con = dbapi.connect(user="other")
    assert con.dbapi_connection.user == "other"
