"""How often connections were borrowed, and for how long."""

import gc
from threading import Thread

import pytest
from patience import in_threads, join

from dbutils._core.lease import permit_of
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg

pytestmark = pytest.mark.portable


def counts(pool):
    """Return how many leases there were, have ended, and were dropped."""
    stats = pool.stats()
    return stats.borrowed, stats.returned, stats.leaked


def test_leases_are_counted_and_not_the_first_connections(kind):
    pool = kind.make(2)
    assert counts(pool) == (0, 0, 0)
    lease = pool.connection()
    assert counts(pool) == (1, 0, 0)
    lease.close()
    lease.close()
    assert counts(pool) == (1, 1, 0)
    with pool.transaction():
        assert counts(pool) == (2, 1, 0)
    assert counts(pool) == (2, 2, 0)


def test_leases_are_counted_too_if_observers_are_told_of_each(kind):
    class Observer:
        def acquired(self, waited):
            """Be told."""

    pool = kind.make(1)
    pool.observe(Observer())
    for number in range(3):
        lease = pool.connection()
        assert counts(pool) == (number + 1, number, 0)
        lease.close()
    assert counts(pool) == (3, 3, 0)


def test_a_dropped_lease_has_leaked(kind):
    pool = kind.make()
    pool.connection()
    assert counts(pool) == (1, 1, 1)
    lease = pool.connection()
    lease.itself = lease  # only the collector finds it
    del lease
    gc.collect()
    assert counts(pool) == (2, 2, 2)
    pool.connection().close()
    assert counts(pool) == (3, 3, 2)


def test_a_slot_that_ends_takes_no_count_along(kind):
    pool = kind.make(maxcached=1)
    leases = [pool.connection() for _ in range(3)]
    for lease in leases:
        lease.close()
    pool.close()
    assert counts(pool) == (3, 3, 0)
    pool.connection().close()
    assert counts(pool) == (4, 4, 0)


def test_a_lease_that_moves_to_another_connection_is_counted_once(dbapi):
    dbapi.threadsafety = 2
    pool = PooledDB(dbapi, maxshared=2, maxconnections=2, track=True)
    dedicated = pool.connection(shareable=False)
    first, second = pool.connection(), pool.connection()
    assert first._con is second._con
    dedicated.close()
    permit = permit_of(second)
    since = permit.taken[0] - 1000
    permit.taken = (since, *permit.taken[1:])
    first.begin()
    second.begin()
    assert first._con is not second._con
    assert counts(pool) == (3, 1, 0)
    assert pool.holders()[0].seconds >= 1000
    second.close()
    first.close()
    stats = pool.stats()
    assert counts(pool) == (3, 3, 0)
    assert stats.timed == 3
    assert stats.use_max >= 1000


def test_shares_are_counted_each(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    leases = [pool.connection() for _ in range(3)]
    assert counts(pool) == (3, 0, 0)
    leases.pop().close()
    leases.pop()
    assert counts(pool) == (3, 2, 1)
    leases.pop().close()
    assert counts(pool) == (3, 3, 1)


def test_a_share_that_is_collected_has_ended(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    leases = [pool.connection() for _ in range(2)]
    for lease in leases:
        lease.itself = lease  # only the collector finds it
    lease = None
    while leases:
        leases.pop()
        gc.collect()
    assert counts(pool) == (2, 2, 2)
    pool.connection().close()
    assert counts(pool) == (3, 3, 2)


def test_a_count_that_others_read_meanwhile_is_not_too_high(
        kind, monkeypatch):
    pool = kind.make()
    pool.connection().close()
    core = pool._core
    own = core.slots.all

    def read_by_another():
        pool.connection().close()
        monkeypatch.setattr(core.slots, "all", own)
        assert counts(pool) == (2, 2, 0)
        return own()

    monkeypatch.setattr(core.slots, "all", read_by_another)
    stats = core.state()
    assert (stats.borrowed, stats.returned) == (1, 1)


def test_a_refused_request_is_no_lease(kind):
    pool = kind.make(maxconnections=1)
    with pool.connection(), pytest.raises(
            kind.module.TooManyConnectionsError):
        pool.connection()
    assert counts(pool) == (1, 1, 0)


def test_a_connection_without_a_lease_is_counted(pg):
    pool = PooledPg(1)
    con = pool.pooled_connection()
    assert counts(pool) == (1, 0, 0)
    pool.cache(con)
    assert counts(pool) == (1, 1, 0)


@pytest.mark.usefixtures("_restless")
def test_no_count_is_lost_between_threads(kind):
    pool = kind.make(maxconnections=3, blocking=True)

    def work():
        for number in range(200):
            lease = pool.connection()
            if number % 10:
                lease.close()
            del lease

    join(in_threads(work, 8))
    stats = pool.stats()
    assert counts(pool) == (1600, 1600, 160)
    # from the first request on that had to wait, if one had
    assert 0 <= stats.timed <= 1600
    assert 0 <= stats.use_max <= stats.use_seconds


def test_a_count_that_is_read_meanwhile_does_not_sink(kind):
    pool = kind.make(maxconnections=3)
    thread = Thread(target=lambda: [
        pool.connection().close() for _ in range(2000)])
    thread.start()
    before = 0
    while thread.is_alive():
        stats = pool.stats()
        assert before <= stats.returned <= stats.borrowed
        before = stats.returned
    thread.join()
    assert counts(pool) == (2000, 2000, 0)


def test_the_time_of_a_use_is_known_if_the_pool_keeps_track(kind):
    pool = kind.make(1, track=True)
    for seconds in (10, 30):
        lease = pool.connection()
        permit = permit_of(lease)
        permit.taken = (permit.taken[0] - seconds, *permit.taken[1:])
        lease.close()
    stats = pool.stats()
    assert stats.timed == 2
    assert 30 <= stats.use_max < 40 <= stats.use_seconds < 50
    pool = kind.make(1, track=False)
    pool.connection().close()
    stats = pool.stats()
    assert (stats.timed, stats.use_seconds, stats.use_max) == (0, 0, 0)


@pytest.mark.parametrize("times", [{"leakafter": 60}, {"idleafter": 60}])
def test_a_place_is_noted_before_a_use_is_timed(kind, times):
    pool = kind.make(1, maxconnections=1, **times)
    for _ in range(3):  # also after what was noted for the last one
        with pool.connection():
            assert pool.holders()[0].seconds < 60
            assert pool.stats().timed == 0
        assert pool.holders() == []
    refused = pytest.raises(kind.module.TooManyConnectionsError)
    with pool.connection(), refused:
        pool.connection(maxwait=0)
    assert pool.stats().timed == 1
    pool.connection().close()
    assert pool.stats().timed == 2


def test_the_time_of_a_share_is_known_too(dbapi):
    pool = PooledDB(dbapi, maxshared=1, track=True)
    leases = [pool.connection(), pool.connection()]
    for lease in leases:
        lease.close()
    assert pool.stats().timed == 2


def test_questions_to_the_server_are_counted(dbapi):
    pool = PooledDB(dbapi, 1, ping="select 1")
    before = pool.stats().pings
    pool.connection().close()
    assert pool.stats().pings == before + 1
    pool = PooledDB(dbapi, 1, ping=0)
    pool.connection().close()
    assert pool.stats().pings == 0


def test_pings_of_a_driver_are_counted(server, dbapi):
    server.has_ping = True
    pool = PooledDB(dbapi, 1)
    before, asked = pool.stats().pings, server.calls["ping"]
    for _ in range(3):
        pool.connection().close()
    assert server.calls["ping"] - asked == 3
    assert pool.stats().pings - before == 3


def test_failures_to_connect_are_counted(dbapi, server):
    pool = PooledDB(dbapi)
    for _ in range(2):
        server.fail("connect")
        with pytest.raises(dbapi.OperationalError):
            pool.connection()
    assert pool.stats().errors == 2
    pool.connection().close()
    assert pool.stats().errors == 2
