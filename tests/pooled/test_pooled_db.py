"""What is special to the pool of DB-API 2 connections."""

import re
import sqlite3
import threading
from threading import Thread

import pytest
from folders import ROOT

from dbutils._steady.session import Session, stay_away
from dbutils._steady.steady import session_of
from dbutils.pooled_db import (
    InvalidConnectionError,
    NotSupportedError,
    PooledDB,
    PooledDedicatedDBConnection,
    PooledSharedDBConnection,
    SharedDBConnection,
    TooManyConnectionsError,
)
from dbutils.steady_db import (
    InvalidCursorError,
    SteadyDBConnection,
    SteadyDBCursor,
)
from dbutils.testing import ScriptedDriver

PATIENCE = 20  # seconds after which a test has failed


def wait_for_waiters(pool):
    """Wait until somebody waits for a connection."""
    tick = threading.Event()
    while not pool.stats().waiting:
        tick.wait(0.001)


# Construction.


@pytest.mark.parametrize("threadsafety", [0, None])
def test_a_driver_has_to_be_thread_safe(dbapi, threadsafety):
    dbapi.threadsafety = threadsafety
    with pytest.raises(
            NotSupportedError, match="Database module is not thread-safe"):
        PooledDB(dbapi)


def test_a_driver_behind_a_function_has_to_be_thread_safe(dbapi, server):
    dbapi.threadsafety = 0
    pool = PooledDB(lambda: dbapi.connect(), maxconnections=1)
    for _ in range(2):
        with pytest.raises(
                NotSupportedError, match="Database module is not thread-safe"):
            pool.connection()
    assert not any(con.valid for con in server.connections)


def test_connections_have_to_be_thread_safe_to_be_shared(dbapi, server):
    dbapi.threadsafety = 1

    def creator():
        return dbapi.connect()

    creator.dbapi = dbapi
    pool = PooledDB(creator, maxshared=1)
    assert pool._maxshared == 0
    creator.threadsafety = 2
    pool = PooledDB(creator, maxshared=1)
    creator.threadsafety = 1  # it has promised too much
    with pytest.raises(
            NotSupportedError, match="connection is not thread-safe"):
        pool.connection()
    assert pool._connections == 0
    assert not any(con.valid for con in server.connections)


@pytest.mark.parametrize(("extra", "isfatal"), [
    (("test", "me"), None), ((None, "test", "me"), None),
    ((bool, "test", "me"), bool)])
def test_the_first_extra_argument_may_be_isfatal(dbapi, extra, isfatal):
    pool = PooledDB(
        dbapi, 0, 0, 0, 0, False, None, None, True, None, 1, *extra)
    con = pool.connection().dbapi_connection
    assert (con.database, con.user) == ("test", "me")
    assert pool._isfatal is isfatal


def test_isfatal_as_keyword_leaves_the_arguments_to_the_driver(dbapi):
    pool = PooledDB(
        dbapi, 0, 0, 0, 0, False, None, None, True, None, 1, None, "me",
        isfatal=bool)
    con = pool.connection().dbapi_connection
    assert (con.database, con.user) == (None, "me")
    with pytest.raises(TypeError, match="'isfatal'"):
        PooledDB(dbapi, isfatal="no")


def test_inner_names_of_dbutils_3_can_be_read(dbapi):
    pool = PooledDB(
        dbapi, 1, 2, 3, 4, True, 5, ("set a",), False, KeyError, 2, "test",
        user="me")
    assert (pool._mincached, pool._maxcached, pool._maxshared,
            pool._maxconnections) == (1, 2, 3, 4)
    assert (pool._blocking, pool._maxusage, pool._setsession) == (
        True, 5, ("set a",))
    assert (pool._reset, pool._failures, pool._ping) == (False, KeyError, 2)
    assert (pool._creator, pool._args, pool._kwargs) == (
        dbapi, ("test",), {"user": "me"})
    assert pool._connections == 0
    assert pool._shared_cache == []
    assert [type(con) for con in pool._idle_cache] == [SteadyDBConnection]
    assert pool._idle_cache[0]._con.valid


def test_unlimited_sizes_read_as_zero(dbapi):
    pool = PooledDB(dbapi, None, None, None, None)
    assert (pool._mincached, pool._maxcached, pool._maxshared,
            pool._maxconnections) == (0, 0, 0, 0)
    assert not hasattr(pool, "_shared_cache")


class _MyCursor(SteadyDBCursor):
    """A cursor of the program's own kind."""


class _MyConnection(SteadyDBConnection):
    """A connection that makes such cursors."""

    def cursor(self, *args, **kwargs):
        return _MyCursor(self, *args, **kwargs)


class _MyPool(PooledDB):
    """A pool of such connections."""

    def steady_connection(self):
        return _MyConnection(self._creator)


@pytest.mark.parametrize("maxshared", [0, 1])
def test_connections_may_have_cursors_of_their_own_kind(dbapi, maxshared):
    lease = _MyPool(dbapi, maxshared=maxshared).connection()
    cursor = lease.cursor()
    assert type(cursor) is _MyCursor
    cursor.execute("select 1")
    lease.close()
    with pytest.raises(InvalidCursorError):
        cursor.execute("select 2")


def test_inner_names_of_leases_can_be_read(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    dedicated, shared = pool.dedicated_connection(), pool.connection()
    assert isinstance(dedicated, PooledDedicatedDBConnection)
    assert isinstance(shared, PooledSharedDBConnection)
    for lease in (dedicated, shared):
        assert lease._pool is pool
        assert isinstance(lease._con, SteadyDBConnection)
        assert lease._usage == 0
    assert not hasattr(PooledDedicatedDBConnection, "_shared_con")
    assert shared._shared_con is pool._shared_cache[0]
    assert shared._shared_con.con is shared._con
    shared.close()
    assert shared._shared_con is None


# Sharing.


def test_connections_are_shared_when_there_are_enough(dbapi, server):
    pool = PooledDB(dbapi, maxshared=2)
    leases = [pool.connection() for _ in range(5)]
    assert server.calls["connect"] == 2
    assert [record.shared for record in pool._shared_cache] == [2, 3]
    assert pool._connections == 2
    for lease in leases:
        lease.close()
    assert pool._connections == 0
    assert len(pool._idle_cache) == 2


def test_dedicated_connections_are_not_shared(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    cons = {id(lease._con) for lease in [
        pool.connection(), pool.connection(False),
        pool.connection(shareable=False), pool.dedicated_connection()]}
    assert len(cons) == 4


def test_a_driver_of_level_one_shares_nothing(dbapi):
    dbapi.threadsafety = 1
    pool = PooledDB(dbapi, maxshared=1)
    assert pool.connection()._con is not pool.connection()._con


def test_sharing_keeps_to_the_limit(dbapi):
    pool = PooledDB(dbapi, maxshared=2, maxconnections=2)
    dedicated = pool.dedicated_connection()
    leases = [pool.connection() for _ in range(3)]
    assert pool._connections == 2
    assert len({id(lease._con) for lease in leases}) == 1
    with pytest.raises(TooManyConnectionsError, match="maxconnections: 2"):
        pool.dedicated_connection()
    dedicated.close()


def test_a_connection_in_a_transaction_is_not_shared(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    lease = pool.connection()
    lease.begin()
    with pytest.raises(TooManyConnectionsError) as caught:
        pool.connection()
    assert "in a transaction" in str(caught.value)
    assert "maxconnections: unlimited, maxshared: 1" in str(caught.value)
    assert pool.dedicated_connection()
    lease.commit()
    assert pool.connection()._con is lease._con


@pytest.mark.parametrize("end", ["commit", "rollback", "cancel", "close"])
def test_the_end_of_a_transaction_wakes_who_waits_for_it(dbapi, end):
    pool = PooledDB(dbapi, maxshared=1, blocking=True)
    lease = pool.connection()
    con = lease._con
    lease.begin()
    served = []
    thread = Thread(
        target=lambda: served.append(pool.connection()), daemon=True)
    thread.start()
    wait_for_waiters(pool)
    getattr(lease, end)()
    thread.join(PATIENCE)
    assert served[0]._con is con


@pytest.mark.parametrize("end", ["commit", "rollback", "cancel"])
def test_a_closed_shared_lease_ends_no_transaction(dbapi, end):
    lease = PooledDB(dbapi, maxshared=1).connection()
    lease.close()
    with pytest.raises(InvalidConnectionError, match=end):
        getattr(lease, end)()


def test_a_lost_shared_connection_is_replaced_when_it_is_lent(
        dbapi, server):
    server.has_ping = True
    pool = PooledDB(dbapi, maxshared=1)
    lease = pool.connection()
    lease.dbapi_connection.cut()
    assert pool.connection()._con is lease._con
    assert lease.dbapi_connection.valid


def test_unshare_takes_back_one_share(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    leases = [pool.connection(), pool.connection()]
    pool.unshare(pool._shared_cache[0])
    assert pool._shared_cache[0].shared == 1
    pool.unshare(pool._shared_cache[0])
    assert len(pool._idle_cache) == 1
    del leases
    assert pool._connections == 0


def test_closing_the_pool_closes_shared_connections(dbapi, server):
    pool = PooledDB(dbapi, maxshared=1)
    leases = [pool.connection(), pool.connection()]
    pool.close()
    assert not server.connections[0].valid
    assert pool._shared_cache == []
    assert pool._connections == 0
    with leases[0].cursor() as cursor:  # heals, as ever
        cursor.execute("select one")
    leases.clear()
    assert pool._connections == 0
    assert len(pool._idle_cache) == 0
    assert not any(con.valid for con in server.connections)


def test_records_of_sharing_compare_by_rank(dbapi):
    records = [SharedDBConnection(SteadyDBConnection(dbapi))
               for _ in range(2)]
    first, second = records
    assert first == second
    assert first <= second
    second.share()
    assert first < second
    assert first != second
    first.con.begin()
    assert second < first
    assert len(set(records)) == 2
    assert hash(first) == hash(first)
    first.con.commit()
    second.unshare()
    assert first == second
    assert first != object()
    with pytest.raises(TypeError):
        assert first < object()


# The rest.


def test_only_what_was_begun_is_rolled_back_without_reset(dbapi):
    pool = PooledDB(dbapi, reset=False)
    with pool.connection() as db:
        session = db.dbapi_connection.session
    assert session == []
    with pool.connection() as db:
        db.begin()
    assert session == ["rollback"]


def test_leaving_a_lease_does_not_commit(dbapi):
    pool = PooledDB(dbapi)
    with pool.connection() as db:
        session = db.dbapi_connection.session
        with db.cursor() as cursor:
            cursor.execute("set a")
    assert session == ["a", "rollback"]


def test_threads_can_use_sqlite_through_a_pool(tmp_path):
    pool = PooledDB(
        sqlite3, maxconnections=3, blocking=True,
        database=str(tmp_path / "test.db"), check_same_thread=False)
    with pool.connection() as db:
        db.cursor().execute("create table test (x integer)")

    def insert():
        for number in range(5):
            with pool.connection() as db:
                db.begin()
                db.cursor().execute("insert into test values (?)", (number,))
                db.commit()

    threads = [Thread(target=insert) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pool.connection() as db, db.cursor() as cursor:
        cursor.execute("select count(*), sum(x) from test")
        assert cursor.fetchone() == (40, 80)
    pool.close()


def test_a_kept_error_of_a_cursor_keeps_no_place(monkeypatch):
    """The frames in its traceback must not hold the permit."""
    driver = ScriptedDriver()

    def raise_error(con):
        raise driver.ProgrammingError("no cursor")

    with PooledDB(driver, maxconnections=1) as pool:
        lease = pool.connection()
        with monkeypatch.context() as patch:
            patch.setattr(
                type(lease.dbapi_connection), "cursor", raise_error)
            with pytest.raises(driver.ProgrammingError) as kept:
                lease.cursor()
        lease.close()
        permit = pool._core.idle.popleft()
        permit = None  # as when an interrupt unwinds a function
        pool.connection(maxwait=0).close()
        assert permit is None
        assert kept.tb is not None


# The fast way back is for sessions with which nothing has happened.


@pytest.mark.parametrize("happens", [
    Session.mark, Session.note_changes, Session.suspect, Session.close],
    ids=lambda method: method.__name__)
def test_what_happens_to_a_session_ends_its_fast_way_back(dbapi, happens):
    pool = PooledDB(dbapi, 1)
    session = session_of(pool._idle_cache[0])
    assert session.leave is not stay_away
    happens(session)
    assert session.leave is stay_away
    pool._choose_way_back()  # others may do so at any moment
    assert session.leave is stay_away


def test_a_clean_session_comes_back_the_fast_way_again(dbapi):
    pool = PooledDB(dbapi, 1)
    con = pool.connection()
    session = session_of(con._con)
    session.note_changes()
    con.close()
    assert session.is_clean
    assert session.leave is not stay_away


def test_only_the_session_notes_that_it_is_changed():
    fact = re.compile(r"\.(is_marked|settings_changed)\b.*= True|\.leave = ")
    writers = {
        path.name for path in (ROOT / "dbutils/_steady").glob("*.py")
        if fact.search(path.read_text(encoding="utf-8"))}
    assert writers == {"session.py"}
