"""The state of a pool in numbers."""

import pickle
from threading import Thread

import pytest
from patience import wait_until

import dbutils
from dbutils._core.stats import too_many_text
from dbutils.pooled_db import PooledDB, PoolStats
from dbutils.pooled_pg import PooledPg


def test_the_state_of_a_pool_is_a_snapshot(kind):
    pool = kind.make(1, maxcached=3, maxconnections=5, maxwaiting=7)
    before = pool.stats()
    assert type(before) is PoolStats
    assert before[:5] == (5, 1, 3, 0, 7)
    with pool.connection():
        during = pool.stats()
    assert (before.in_use, before.idle) == (0, 1)
    assert (during.in_use, during.idle) == (1, 0)
    with pytest.raises(AttributeError):
        before.idle = 2


def test_no_limit_is_none(kind):
    stats = kind.make().stats()
    assert stats.maxconnections is stats.maxcached is stats.maxwaiting is None
    assert stats.mincached == stats.maxshared == 0


def test_what_is_opened_and_closed_is_counted(kind):
    pool = kind.make(2, maxcached=2)
    assert pool.stats()[-4:] == (2, 0, 0, 0)
    leases = [pool.connection() for _ in range(4)]
    assert pool.stats().opened == 4
    for lease in leases:
        lease.close()
    stats = pool.stats()
    assert (stats.opened, stats.closed, stats.idle) == (4, 2, 2)
    pool.close()
    assert pool.stats().closed == 4


def test_a_connection_that_cannot_be_opened_is_not_counted(dbapi, server):
    pool = PooledDB(dbapi)
    server.fail("connect")
    with pytest.raises(dbapi.OperationalError):
        pool.connection()
    stats = pool.stats()
    assert (stats.in_use, stats.opened, stats.closed) == (0, 0, 0)


def test_a_new_session_of_a_connection_is_counted(dbapi):
    pool = PooledDB(dbapi, maxusage=1)
    with pool.connection() as db, db.cursor() as cursor:
        for _ in range(3):
            cursor.execute("select test")
    assert pool.stats().reconnects == 2
    assert pool.stats().opened == 1


def test_refused_requests_are_counted(kind):
    pool = kind.make(maxconnections=1)
    lease = pool.connection()
    for maxwait in (None, 0, 0.001):
        with pytest.raises(kind.module.TooManyConnectionsError):
            pool.connection(maxwait=maxwait)
    assert pool.stats().refused == 3
    lease.close()
    pool.connection().close()
    assert pool.stats().refused == 3


def test_waiting_requests_are_counted(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    lease = pool.connection()
    thread = Thread(target=lambda: pool.connection().close())
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    lease.close()
    thread.join()
    assert pool.stats().waiting == 0


def test_shared_connections_are_counted_once(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    leases = [pool.connection() for _ in range(3)]
    dedicated = pool.dedicated_connection()
    stats = pool.stats()
    assert (stats.maxshared, stats.shared, stats.in_use) == (1, 1, 2)
    for lease in [*leases, dedicated]:
        lease.close()
    assert pool.stats().shared == 0


@pytest.mark.parametrize("end", [
    lambda pool: pool.close(), lambda pool: pool.drain(),
    lambda pool: pool.shutdown(0)])
def test_a_shared_connection_is_closed_only_once(dbapi, end):
    pool = PooledDB(dbapi, maxshared=1)
    first, second = pool.connection(), pool.connection()
    end(pool)
    first.close()
    del second
    stats = pool.stats()
    assert (stats.opened, stats.closed) == (1, 1)


def test_a_connection_that_was_put_in_counts_neither_way(pg):
    pool = PooledPg()
    pool._cache.put_nowait(pool.steady_connection())
    assert pool.stats().idle == 1
    pool.close()
    stats = pool.stats()
    assert (stats.opened, stats.closed, stats.idle) == (0, 0, 0)


def test_a_snapshot_can_be_pickled():
    stats = PoolStats(*range(13))
    assert pickle.loads(pickle.dumps(stats)) == stats
    assert dbutils.PoolStats is PoolStats
    assert PoolStats.__module__ == "dbutils.pooled_db"


def test_what_has_come_back_since_is_not_told_to_be_shared(dbapi):
    pool = PooledDB(dbapi, 1, maxconnections=1)
    text = too_many_text(pool.stats(), 0.5, holders=[])
    assert text.startswith("All connections of the pool were in use (")
    assert "Raise maxconnections" in text
