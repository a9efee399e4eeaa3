"""The simple pools: both kinds keep one contract."""

import gc
from threading import Event, Thread

import pytest

from dbutils import simple_pooled_db, simple_pooled_pg
from dbutils.simple_pooled_db import NotSupportedError


@pytest.fixture(params=["db", "pg"])
def make(request, dbapi, pg):
    """Make a pool of either kind whose connections are not shared."""
    if request.param == "pg":
        return simple_pooled_pg.PooledPg
    dbapi.threadsafety = 1
    return lambda *args, **options: simple_pooled_db.PooledDB(
        dbapi, *args, **options)


def test_all_connections_are_opened_at_once(make, server):
    make(3, "test", user="me")
    assert server.calls["connect"] == 3
    assert {con.user for con in server.connections} == {"me"}


def test_a_connection_is_a_proxy_of_the_drivers(make, server):
    pool = make(1)
    con = pool.connection()
    assert con.num_queries == 0
    assert getattr(con._con, "db", con._con) is server.connections[0]


def test_connections_have_one_user_at_a_time(make):
    pool = make(2)
    first, second = pool.connection(), pool.getConnection()
    assert first._con is not second._con
    inner = first._con
    first.close()
    assert pool.connection()._con is inner


def test_the_connection_returned_first_is_handed_out_first(make):
    pool = make(3)
    leases = [pool.connection() for _ in range(3)]
    inner = [lease._con for lease in leases]
    for lease in leases:
        lease.close()
    again = [pool.connection() for _ in range(3)]
    assert [lease._con for lease in again] == inner


def test_a_request_waits_for_a_connection(make):
    pool = make(1)
    lease = pool.connection()
    inner = lease._con
    served = []
    waiting = Event()

    def checkout():
        waiting.set()
        served.append(pool.connection())

    thread = Thread(target=checkout, daemon=True)
    thread.start()
    assert waiting.wait(20)
    assert not served
    del lease
    thread.join(20)
    assert served[0]._con is inner


def test_a_closed_connection_has_no_attributes(make):
    pool = make(1)
    con = pool.connection()
    con.close()
    con.close()
    assert not hasattr(con, "num_queries")
    with pytest.raises(AttributeError, match=r"'query'.*closed"):
        con.query("select one")
    assert pool.connection()._con is not None


def test_a_context_gives_the_connection_back(make):
    pool = make(1)
    with pool.connection() as con:
        inner = con._con
    assert con._con is None
    assert pool.connection()._con is inner


def test_connections_abandoned_in_cycles_come_back(make):
    pool = make(1)
    for _ in range(3):
        cycle = [pool.connection()]
        cycle.append(cycle)
        del cycle
        gc.collect()
    assert pool.connection()


def test_connections_can_be_added_and_returned_by_hand(make, dbapi):
    pool = make(0)
    con = dbapi.connect()
    pool.addConnection(con)
    lease = pool.connection()
    assert lease._con is con
    pool.returnConnection(con)
    pool.returnConnection(con)  # it is there already
    lease.close()
    other = dbapi.connect()
    pool.returnConnection(other)
    leases = [pool.connection(), pool.connection()]
    assert [lease._con for lease in leases] == [con, other]


def test_a_subclass_can_take_connections_back_in_its_own_way(dbapi):
    dbapi.threadsafety = 1
    seen = []

    class Watching(simple_pooled_db.PooledDB):
        def returnConnection(self, con):  # noqa: N802 - its name
            seen.append(con)
            super().returnConnection(con)

    pool = Watching(dbapi, 2)
    for _ in range(3):
        pool.connection().close()
    lease = pool.connection()
    del lease  # that counts, too
    assert len(seen) == 4
    cons = [pool.connection()._con, pool.connection()._con]
    leases = [pool.connection(), pool.connection()]
    assert leases[0]._con is not leases[1]._con
    assert set(cons) == {lease._con for lease in leases}


def test_cache_is_another_name_for_that(pg):
    pool = simple_pooled_pg.PooledPg(0)
    con = pg.DB()
    pool.cache(con)
    assert pool.connection()._con is con


@pytest.mark.parametrize("threadsafety", [2, 3])
def test_thread_safe_connections_are_handed_out_in_turn(
        dbapi, threadsafety):
    dbapi.threadsafety = threadsafety
    pool = simple_pooled_db.PooledDB(dbapi, 2)
    leases = [pool.connection() for _ in range(4)]
    assert [lease._con.serial for lease in leases] == [1, 2, 1, 2]
    for lease in leases:
        lease.close()
        assert not hasattr(lease, "serial")
    pool.addConnection(dbapi.connect())
    leases = [pool.connection() for _ in range(4)]
    assert [lease._con.serial for lease in leases] == [1, 2, 3, 1]


@pytest.mark.parametrize("threadsafety", [0, 4, None, "1"])
def test_a_driver_has_to_be_thread_safe(dbapi, threadsafety):
    dbapi.threadsafety = threadsafety
    with pytest.raises(
            NotSupportedError, match="Database module is not thread-safe"):
        simple_pooled_db.PooledDB(dbapi, 1)
    with pytest.raises(NotSupportedError, match="None"):
        simple_pooled_db.PooledDB(object(), 1)

