"""Connections that stay with their thread: both kinds keep one contract."""

import threading
from threading import Thread

import pytest

from dbutils import persistent_db, persistent_pg
from dbutils.persistent_db import NotSupportedError, PersistentDB, local
from dbutils.persistent_pg import PersistentPg


@pytest.fixture(params=["db", "pg"])
def make(request, dbapi, pg):
    """Make a generator of either kind."""
    if request.param == "db":
        return lambda **options: PersistentDB(dbapi, **options)
    return PersistentPg


def in_thread(function):
    """Return what a function returns in another thread."""
    results = []
    thread = Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def driver_con(con):
    """Return the driver's connection of either kind."""
    return getattr(con._con, "db", con._con)


def test_a_thread_gets_the_same_connection_again(make):
    persist = make()
    assert persist.connection() is persist.connection()


def test_other_threads_and_generators_get_others(make, server):
    persist = make()
    con = persist.connection()
    assert in_thread(persist.connection) is not con
    assert make().connection() is not con
    assert persist.steady_connection() is not con
    assert server.calls["connect"] == 4


def test_the_connection_is_closed_when_the_thread_has_ended(make, server):
    persist = make()

    def checkout():
        persist.connection()

    in_thread(checkout)
    persist.connection()  # the data of the last thread are kept until now
    con = server.connections[0]
    assert not getattr(con, "valid", getattr(con, "status", None))


@pytest.mark.parametrize("threadlocal", [None, local, threading.local])
def test_the_kind_of_thread_local_data_can_be_chosen(make, threadlocal):
    persist = make(threadlocal=threadlocal)
    assert isinstance(persist.thread, threadlocal or local)
    assert persist.connection() is persist.thread.connection


def test_close_keeps_the_connection_open_by_default(make):
    con = make().connection()
    con.close()
    assert con.valid
    con.begin()
    con.close()
    assert con.valid
    assert not con._transaction


def test_the_connection_may_be_closeable(make):
    persist = make(closeable=True, ping=0)
    con = persist.connection()
    con.close()
    assert not con.valid
    assert persist.connection() is con


def test_the_options_reach_the_steady_connection(make):
    options = {"maxusage": 3, "setsession": ["set a"], "isfatal": bool,
               "failures": KeyError, "ping": (4, len), "user": "me"}
    con = make(**options).connection()
    assert con._maxusage == 3
    assert con._setsession_sql == ("set a",)
    assert con._isfatal is bool
    assert con._failures is KeyError
    assert (con._ping, con._pinger) == (4, len)
    assert driver_con(con).user == "me"


def test_a_failing_connect_is_tried_again_by_the_next_request(make, server):
    persist = make()
    server.is_down = True
    with pytest.raises(Exception, match="cannot connect"):
        persist.connection()
    server.is_down = False
    assert persist.connection()


def test_a_lost_connection_is_replaced_when_it_is_requested(make, server):
    server.has_ping = True
    persist = make()
    con = persist.connection()
    driver_con(con).cut()
    assert persist.connection() is con
    assert con.valid
    assert getattr(driver_con(con), "valid", True)
    assert getattr(driver_con(con), "status", True)


@pytest.mark.parametrize("ping", [0, 2, (2, "select ping")])
def test_it_is_not_looked_at_if_not_wanted(make, server, ping):
    server.has_ping = True
    persist = make(ping=ping)
    con = persist.connection()
    driver_con(con).cut()
    before = len(server.log)
    assert persist.connection() is con
    assert len(server.log) == before


def test_positional_arguments_reach_the_driver(dbapi, pg):
    persist = PersistentDB(dbapi, 0, None, None, 1, False, None, "test", "me")
    assert persist.connection()._con.database == "test"
    persist = PersistentDB(
        dbapi, 0, None, None, 1, False, None, bool, "test", "me")
    assert persist._isfatal is bool
    assert persist.connection()._con.database == "test"
    persist = PersistentDB(
        dbapi, 0, None, None, 1, False, None, None, "test")
    assert persist.connection()._con.database == "test"
    persist = PersistentPg(0, None, False, None, "test", "me")
    assert persist.connection()._con.dbname == "test"


def test_a_driver_has_to_be_thread_safe(dbapi):
    dbapi.threadsafety = 0
    with pytest.raises(
            NotSupportedError, match="Database module is not thread-safe"):
        PersistentDB(dbapi)


def test_a_driver_behind_a_function_has_to_be_thread_safe(dbapi, server):
    dbapi.threadsafety = 0
    persist = PersistentDB(lambda: dbapi.connect())
    with pytest.raises(
            NotSupportedError, match="Database module is not thread-safe"):
        persist.connection()
    assert not server.connections[0].valid


def test_a_dedicated_or_shareable_connection_is_the_same(dbapi):
    persist = PersistentDB(dbapi)
    con = persist.connection()
    assert persist.connection(shareable=True) is con
    assert persist.dedicated_connection() is con


def test_both_modules_offer_the_thread_local_data():
    assert persistent_db.local is persistent_pg.local


class Silent:
    """A driver, and its connections, of which nothing can be seen."""

    apilevel, threadsafety, paramstyle = "2.0", 1, "qmark"
    Error = OperationalError = InterfaceError = InternalError = OSError
    made = 0

    @classmethod
    def connect(cls):
        cls.made += 1
        return cls()

    def cursor(self):
        raise NotImplementedError

    def commit(self):
        pass

    rollback = close = commit


def test_a_driver_of_which_nothing_can_be_seen_is_checked_only_in_doubt():
    class Driver(Silent):
        """Has a count of its own."""

    persist = PersistentDB(Driver)
    con = persist.connection()
    assert persist.connection() is con
    assert Driver.made == 1
    con.valid = False
    assert persist.connection() is con
    assert con.valid
    assert Driver.made == 2
    con._close()
    assert persist.connection() is con
    assert con.valid
    assert Driver.made == 3


def test_a_connection_that_was_dropped_is_not_found_again():
    class Driver(Silent):
        """Has a count of its own."""

    persist = PersistentDB(Driver)
    persist.connection()
    persist.connection()
    assert Driver.made == 1
    del persist.thread.connection
    assert persist.connection().valid
    assert Driver.made == 2


@pytest.mark.parametrize("change", ["delete", "replace", "none"])
def test_what_a_program_does_to_the_data_of_its_thread_counts(make, change):
    """The old connection was found again as long as the program had it."""
    persist = make()
    old = persist.connection()
    others = in_thread(lambda: persist.thread.__dict__)
    if change == "delete":
        del persist.thread.connection
    elif change == "replace":
        persist.thread.connection = persist.steady_connection()
    else:
        persist.thread.connection = None
    new = persist.connection()
    assert new is not old
    assert new is persist.connection() is persist.thread.connection
    assert others == {}
