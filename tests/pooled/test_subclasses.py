"""Subclasses and packages that were written for DBUtils 3.x.

They set inner names, and replace methods by their own.  What is expected here
also holds with DBUtils 3.2.0, unless a test says something else.
"""

import pytest

from dbutils import pooled_db, steady_db
from dbutils.persistent_db import PersistentDB
from dbutils.pooled_db import PooledDB, TooManyConnectionsError
from dbutils.steady_db import SteadyDBConnection, connect

SETTINGS = {
    "_maxusage": 3, "_setsession": ("set a",), "_ping": 7, "_reset": False,
    "_blocking": True, "_failures": KeyError, "_isfatal": bool,
    "_maxshared": 2, "_maxcached": 3, "_maxconnections": 4, "_mincached": 1,
    "_kwargs": {"user": "me"}, "_args": ("test",)}


def pool_that_sets(**settings):
    """Return a class of pools that set these attributes when they are made."""
    class Own(PooledDB):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            for name, value in settings.items():
                setattr(self, name, value)
    return Own


@pytest.mark.parametrize("name", SETTINGS)
def test_a_subclass_of_a_pool_can_set_it_at_the_end(dbapi, name):
    value = SETTINGS[name]
    options = {"maxshared": 1} if name == "_maxshared" else {}
    pool = pool_that_sets(**{name: value})(dbapi, **options)
    assert getattr(pool, name) == value
    pool.connection().close()
    setattr(pool, name, value)
    assert getattr(pool, name) == value


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_set_at_the_beginning_has_no_effect(dbapi, name):
    class Own(PooledDB):
        def __init__(self, *args, **kwargs):
            setattr(self, name, "other")
            assert getattr(self, name) == "other"
            super().__init__(*args, **kwargs)

    plain, pool = PooledDB(dbapi), Own(dbapi)
    assert getattr(pool, name, None) == getattr(plain, name, None) or (
        name == "_mincached")  # which 3.2 does not have
    pool.connection().close()


def test_the_limit_of_usage_is_that_of_the_next_connections(dbapi):
    pool = PooledDB(dbapi)
    old = pool.connection()
    pool._maxusage = 2
    assert (old._con._maxusage, pool.connection()._con._maxusage) == (0, 2)


def test_the_session_is_prepared_as_it_was_set(dbapi):
    pool = PooledDB(dbapi)
    pool._setsession = ["set this"]
    assert pool.connection()._con._con.session[0] == "this"


def test_connections_are_checked_as_it_was_set(dbapi, server):
    server.has_ping = True
    pool = PooledDB(dbapi, ping=0)
    pool._ping = 1
    pool.connection().close()
    pool.connection().close()
    assert server.calls["ping"] == 1
    pool._ping = 0  # for other connections than this one
    pool.connection().close()
    assert server.calls["ping"] == 2


def test_the_reset_is_that_which_was_set(dbapi, server):
    pool = PooledDB(dbapi)
    pool._reset = False
    pool.connection().close()
    assert server.calls["rollback"] == 0
    pool._reset = True
    pool.connection().close()
    assert server.calls["rollback"] == 1
    pool._reset = False
    db = pool.connection()
    db.begin()
    db.close()
    pool.connection().close()
    assert server.calls["rollback"] == 2


def test_a_pool_that_was_blocking_refuses(dbapi):
    pool = PooledDB(dbapi, maxconnections=1, blocking=True)
    pool._blocking = False
    db = pool.connection()
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    db.close()


def test_a_pool_that_was_not_blocking_waits(dbapi):
    from threading import Thread
    pool = PooledDB(dbapi, maxconnections=1)
    db, got = pool.connection(), []
    pool._blocking = True
    thread = Thread(target=lambda: got.append(pool.connection()))
    thread.start()
    db.close()
    thread.join(60)
    assert len(got) == 1


def test_the_failures_are_those_that_were_set(dbapi, server):
    pool = PooledDB(dbapi)
    pool._failures = KeyError
    server.fail("execute")
    with pytest.raises(dbapi.OperationalError):
        pool.connection().cursor().execute("select one")


def test_the_limit_of_connections_is_that_which_was_set(dbapi):
    pool = pool_that_sets(_maxconnections=1)(dbapi)
    db = pool.connection()
    with pytest.raises(TooManyConnectionsError):
        pool.connection()
    pool._maxconnections = 0
    assert pool.connection() is not None
    db.close()


def test_the_number_of_idle_ones_is_that_which_was_set(dbapi):
    pool = pool_that_sets(_maxcached=1)(dbapi)
    for db in [pool.connection() for _ in range(3)]:
        db.close()
    assert len(pool._idle_cache) == 1
    pool._maxcached = 0
    for db in [pool.connection() for _ in range(3)]:
        db.close()
    assert len(pool._idle_cache) == 3


def test_the_number_of_shared_ones_is_that_which_was_set(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    pool._maxshared = 2
    dbs = [pool.connection() for _ in range(4)]
    assert len({db._con for db in dbs}) == 2
    pool._maxshared = 0
    alone = pool.connection()
    assert alone._con not in {db._con for db in dbs}
    for db in dbs:
        db.close()


def test_connections_come_from_the_creator_that_was_set(dbapi):
    def connect_to_other(**options):
        return dbapi.connect("other", **options)

    connect_to_other.dbapi = dbapi
    pool = PooledDB(dbapi, database="one")
    pool._creator = connect_to_other
    pool._kwargs = {"user": "me"}
    con = pool.connection()._con._con
    assert (con.database, con.user) == ("other", "me")


def test_the_subclass_of_a_program_in_the_field(dbapi):
    # as one that is on GitHub does, with psycopg2
    class PoolWrapper(PooledDB):
        def __init__(self, mincached=0, maxcached=0, **kwargs):
            super().__init__(**kwargs)
            if maxcached < mincached:
                raise ValueError
            self._mincached = mincached
            self._maxcached = maxcached

    pool = PoolWrapper(1, 2, creator=dbapi)
    for db in [pool.connection() for _ in range(3)]:
        db.close()
    assert len(pool._idle_cache) == 2


@pytest.mark.parametrize("name", ["_maxusage", "_ping", "_blocking"])
def test_pools_of_both_kinds_can_be_changed(kind, name):
    pool = kind.make()
    setattr(pool, name, 1)
    assert getattr(pool, name) == 1
    pool.connection().close()
    pool.connection()


# Steady connections.

STEADY = {
    "_maxusage": 3, "_ping": 7, "_failures": KeyError, "_isfatal": bool,
    "_pinger": bool, "_closeable": False, "_setsession_sql": ("set a",),
    "_kwargs": {"user": "me"}, "_args": ("test",), "_usage": 5,
    "_transaction": True}


@pytest.mark.parametrize("name", STEADY)
def test_a_subclass_of_a_connection_can_set_it(dbapi, name):
    class Own(SteadyDBConnection):
        def __init__(self, *args, **kwargs):
            setattr(self, name, "other")
            super().__init__(*args, **kwargs)
            assert getattr(self, name) != "other"
            setattr(self, name, STEADY[name])

    con = Own(dbapi)
    assert getattr(con, name) == STEADY[name]
    con.cursor().execute("select one")


def test_a_connection_goes_by_what_was_set(dbapi, server):
    server.has_ping = True
    con = connect(dbapi, ping=0)
    con._ping = 6
    cursor = con.cursor()
    cursor.execute("select one")
    assert server.calls["ping"] == 2
    con._maxusage = 1
    old = con._con
    cursor.execute("select two")
    assert con._con is not old
    con._closeable = False
    con.close()
    assert con._con.valid
    con._failures = KeyError
    server.fail("execute")
    con._ping = con._maxusage = 0
    with pytest.raises(dbapi.OperationalError):
        cursor.execute("select three")


def test_a_question_can_be_set(dbapi):
    asked = []
    con = connect(dbapi)
    con._pinger = asked.append
    assert con._ping_check() is True
    assert asked == [con._con]


def test_a_pool_hands_out_connections_that_check_themselves(dbapi, server):
    class Own(PooledDB):
        def steady_connection(self):
            con = super().steady_connection()
            con._ping = 1
            return con

    server.has_ping = True
    pool = Own(dbapi, ping=0)
    pool.connection().close()
    pool.connection().close()
    assert server.calls["ping"] == 1


# Methods that were replaced.

class Calls(list):
    """Replaces methods, and notes what they were called with."""

    def __init__(self, monkeypatch):
        super().__init__()
        self._monkeypatch = monkeypatch

    def replace(self, owner, name):
        """Let a method of a class, or of an object, be noted first."""
        original = getattr(owner, name)

        def method(*args, **kwargs):
            self.append((name, *args[isinstance(owner, type):], kwargs))
            return original(*args, **kwargs)

        self._monkeypatch.setattr(owner, name, method)

    @property
    def names(self):
        """What was called."""
        return [call[0] for call in self]


@pytest.fixture
def calls(monkeypatch):
    return Calls(monkeypatch)


def test_the_check_of_connections_can_be_replaced(dbapi, calls):
    calls.replace(SteadyDBConnection, "_ping_check")
    pool = PooledDB(dbapi)
    pool.connection().close()
    assert not calls
    pool.connection().close()
    pool.connection(shareable=False).close()
    assert calls.names == ["_ping_check"] * 2


def test_a_check_that_says_no_is_believed(dbapi, server, monkeypatch):
    original = SteadyDBConnection._ping_check

    def replace_always(self, ping=1, reconnect=True):
        self._con.cut()
        return original(self, ping, reconnect)

    monkeypatch.setattr(SteadyDBConnection, "_ping_check", replace_always)
    server.has_ping = True
    pool = PooledDB(dbapi)
    serials = []
    for _ in range(3):
        with pool.connection() as db:
            serials.append(db._con._con.serial)
    assert serials == [1, 2, 3]


def test_cursors_and_statements_use_a_check_that_was_replaced(dbapi, calls):
    calls.replace(SteadyDBConnection, "_ping_check")
    con = connect(dbapi, ping=6)
    con.cursor().execute("select one")
    assert calls.names == ["_ping_check"] * 2


def test_persistent_connections_use_a_check_that_was_replaced(dbapi, calls):
    calls.replace(SteadyDBConnection, "_ping_check")
    persist = PersistentDB(dbapi)
    persist.connection()
    persist.connection()
    assert calls.names == ["_ping_check"] * 2


@pytest.mark.parametrize("reset", [True, False])
def test_the_reset_of_connections_can_be_replaced(dbapi, calls, reset):
    calls.replace(SteadyDBConnection, "_reset")
    pool = PooledDB(dbapi, reset=reset)
    pool.connection().close()
    assert calls == [("_reset", {"force": reset})]


def test_a_reset_that_does_nothing_does_nothing(
        dbapi, server, monkeypatch):
    monkeypatch.setattr(
        SteadyDBConnection, "_reset", lambda con, force=False: None)
    pool = PooledDB(dbapi)
    pool.connection().close()
    pool.connection().close()
    assert server.calls["rollback"] == 0


@pytest.mark.parametrize("name", ["commit", "rollback", "begin", "cancel"])
def test_the_methods_for_transactions_can_be_replaced(dbapi, calls, name):
    calls.replace(SteadyDBConnection, name)
    db = PooledDB(dbapi).connection()
    getattr(db, name)()
    assert calls.names[:1] == [name]


def test_the_cursors_of_connections_can_be_replaced(dbapi, calls):
    calls.replace(SteadyDBConnection, "cursor")
    calls.replace(SteadyDBConnection, "_cursor")
    db = PooledDB(dbapi).connection()
    cursor = db.cursor("name")
    cursor.execute("select one")
    assert calls == [("cursor", "name", {}), ("_cursor", "name", {})]
    assert cursor.fetchone() == ("one",)


def test_cursors_of_another_class_are_handed_out(dbapi, monkeypatch):
    monkeypatch.setattr(
        SteadyDBConnection, "cursor", lambda con: ["a cursor of", con])
    db = PooledDB(dbapi).connection()
    assert db.cursor() == ["a cursor of", db._con]
    db = PooledDB(dbapi, maxshared=1).connection()
    assert db.cursor() == ["a cursor of", db._con]


def test_opening_connections_can_be_replaced(dbapi, calls):
    calls.replace(SteadyDBConnection, "_create")
    con = connect(dbapi, maxusage=1)
    con.cursor().execute("select one")
    con.cursor().execute("select two")
    assert calls.names == ["_create"] * 2


def test_a_subclass_can_open_connections_in_its_own_way(dbapi):
    class Own(SteadyDBConnection):
        def _create(self):
            con = super()._create()
            con.session.append("mine")
            return con

    con = Own(dbapi)
    assert con._con.session == ["mine"]
    con._con.cut()
    con.cursor().execute("select one")
    assert con._con.serial == 2
    assert con._con.session == ["mine"]


def test_closing_connections_can_be_replaced(dbapi, calls):
    calls.replace(SteadyDBConnection, "close")
    pool = PooledDB(dbapi, maxcached=1)
    dbs = [pool.connection() for _ in range(2)]
    for db in dbs:
        db.close()
    pool.close()
    assert calls.names == ["close"] * 2


def test_a_name_of_3_that_nothing_calls_can_be_replaced(dbapi, monkeypatch):
    for owner in (SteadyDBConnection, steady_db.SteadyDBCursor, PooledDB):
        monkeypatch.setattr(
            owner, "tough_method", lambda self: "mine", raising=False)
    pool = PooledDB(dbapi)
    con = pool.steady_connection()
    assert pool.tough_method() == con.tough_method() == "mine"
    assert con.cursor().tough_method() == "mine"


def test_lending_can_be_replaced(dbapi, monkeypatch):
    original = PooledDB.connection

    def connection(self, shareable=True):  # it has no other parameters
        asked.append(shareable)
        return original(self, shareable)

    asked = []
    monkeypatch.setattr(PooledDB, "connection", connection)
    pool = PooledDB(dbapi)
    with pool.dedicated_connection() as db:
        db.cursor().execute("select one")
    assert asked == [False]


def test_lending_can_be_replaced_by_something_else(dbapi, monkeypatch):
    pool = PooledDB(dbapi)
    monkeypatch.setattr(pool, "connection", lambda shareable=True: shareable)
    assert pool.dedicated_connection() is False
    assert pool.connection() is True


@pytest.mark.parametrize("name", ["steady_connection", "cache", "close"])
@pytest.mark.parametrize("is_late", [False, True])
def test_the_methods_of_pools_can_be_replaced(dbapi, calls, name, is_late):
    pool = PooledDB(dbapi)
    calls.replace(pool if is_late else PooledDB, name)
    pool.connection().close()
    pool.close()
    assert calls.names == [name]


def test_a_replaced_cache_can_be_put_back(dbapi, monkeypatch):
    pool, cached = PooledDB(dbapi), []
    pool.connection().close()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "cache", cached.append)
        pool.connection().close()
    assert len(cached) == 1
    pool.connection().close()
    assert len(cached) == 1


@pytest.mark.parametrize("is_late", [False, True])
def test_sharing_can_be_replaced(dbapi, calls, is_late):
    pool = PooledDB(dbapi, maxshared=1)
    calls.replace(pool if is_late else PooledDB, "unshare")
    one, two = pool.connection(), pool.connection()
    record = pool._shared_cache[0]
    one.close()
    assert calls == [("unshare", record, {})]
    assert record.shared == 1
    two.cursor().execute("select one")
    two.close()
    assert (record.shared, len(pool._idle_cache)) == (0, 1)


def test_leases_of_a_subclass_are_not_slower_than_others(dbapi):
    # a program that replaces nothing goes the short ways
    class Own(PooledDB):
        pass

    pool = Own(dbapi, mincached=1)
    assert pool._core.take == pool._core.idle.popleft
    assert pooled_db._usual is SteadyDBConnection
