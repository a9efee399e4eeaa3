"""The state of a pool in numbers."""

import gc
import pickle
from threading import Event, Thread

import pytest
from patience import PATIENCE, in_threads, join, number_asleep, wait_until

import dbutils
from dbutils import HealthCheckPooledDB, pooled_db
from dbutils._base.atomic import Sum
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
    assert pool.stats()[9:13] == (2, 0, 0, 0)
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


def test_a_shared_connection_that_has_left_is_closed_by_the_collector(dbapi):
    pool = PooledDB(dbapi, maxshared=1)
    lease = pool.connection()
    lease.itself = lease
    pool.drain()
    del lease
    gc.collect()
    stats = pool.stats()
    assert (stats.opened, stats.closed, stats.closed_cleared) == (1, 1, 1)


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
    text = too_many_text(pool._core.filling(), 0.5, holders=[])
    assert text.startswith("All connections of the pool were in use (")
    assert "Raise maxconnections" in text


# More than is needed at each moment.

def test_the_name_of_a_pool_is_there(kind):
    assert kind.make(poolname="shop").stats().name == "shop"
    assert kind.make().stats().name


def test_waits_are_counted_with_their_seconds(kind):
    pool = kind.make(maxconnections=1, maxshared=1, maxwaiting=1)
    lease = pool.connection(**dedicated(kind))
    for maxwait in (0.02, 0.01):
        with pytest.raises(kind.module.TooManyConnectionsError):
            pool.connection(maxwait=maxwait, **dedicated(kind))
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.connection(maxwait=0, **dedicated(kind))
    thread = Thread(target=lambda: pool.connection(
        maxwait=PATIENCE, **dedicated(kind)).close())
    thread.start()
    wait_until(lambda: number_asleep(pool) == 1)
    with pytest.raises(kind.module.TooManyConnectionsError):
        pool.connection(maxwait=PATIENCE, **dedicated(kind))  # maxwaiting
    lease.close()
    thread.join()
    stats = pool.stats()
    assert (stats.waited, stats.timeouts, stats.refused) == (3, 2, 4)
    assert stats.wait_seconds >= stats.wait_max >= 0.02
    assert stats.wait_seconds >= 0.03


def dedicated(kind):
    """Return the options of a request for a dedicated connection."""
    return {"shareable": False} if kind.module is pooled_db else {}


def test_a_wait_in_line_is_counted_unless_it_is_short(kind):
    pool = kind.make(maxconnections=1, maxwait=0.001)
    with pool.connection(), pytest.raises(
            kind.module.TooManyConnectionsError):
        pool.connection()
    assert (pool.stats().waited, pool.stats().timeouts) == (1, 1)


def test_a_pool_that_does_not_wait_counts_no_wait(kind):
    pool = kind.make(maxconnections=1)
    with pool.connection(), pytest.raises(
            kind.module.TooManyConnectionsError):
        pool.connection()
    stats = pool.stats()
    assert (stats.refused, stats.waited, stats.timeouts) == (1, 0, 0)


def test_a_shutdown_is_no_time_out(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    errors = []

    def ask():
        with pytest.raises(kind.module.PoolClosedError):
            pool.connection()
        errors.append(True)

    lease = pool.connection()
    thread = Thread(target=ask)
    thread.start()
    wait_until(lambda: pool.stats().waiting == 1)
    pool.shutdown(0)
    thread.join()
    lease.close()
    assert errors == [True]
    assert pool.stats().timeouts == 0


def test_a_connect_that_comes_too_late_is_a_time_out(dbapi, server):
    pool = PooledDB(dbapi, maxconnections=1)
    gate = Event()
    server.on_call = lambda name, con: name == "connect" and gate.wait()
    with pytest.raises(pooled_db.TooManyConnectionsError):
        pool.connection(maxwait=0.01)
    assert (pool.stats().timeouts, pool.stats().waited) == (1, 0)
    gate.set()
    wait_until(lambda: pool.stats().idle == 1)
    stats = pool.stats()
    assert stats.opened == 1
    assert stats.connect_seconds == stats.connect_max >= 0.01


def test_the_seconds_of_connects_are_added(kind):
    pool = kind.make(2)
    stats = pool.stats()
    assert stats.connect_seconds > stats.connect_max > 0


REASONS = ["cleared", "dead", "expired", "idle", "surplus"]


def closed_by(pool):
    """Return how many connections were closed, by the reason."""
    stats = pool.stats()
    found = {name: getattr(stats, f"closed_{name}") for name in REASONS}
    assert sum(found.values()) == stats.closed
    return {name: number for name, number in found.items() if number}


@pytest.mark.parametrize("end", [
    lambda pool: pool.close(), lambda pool: pool.drain(),
    lambda pool: pool.shutdown()])
def test_what_the_program_closes_is_cleared(kind, end):
    pool = kind.make(2)
    end(pool)
    assert closed_by(pool) == {"cleared": 2}


def test_what_comes_back_to_a_pool_that_was_drained_is_cleared(kind):
    pool = kind.make()
    lease = pool.connection()
    pool.drain()
    lease.close()
    assert closed_by(pool) == {"cleared": 1}


def test_what_is_too_much_is_surplus(kind):
    pool = kind.make(maxcached=1)
    leases = [pool.connection() for _ in range(3)]
    for lease in leases:
        lease.close()
    assert closed_by(pool) == {"surplus": 2}


def test_what_could_not_be_cleaned_is_dead(kind):
    def fail(_con):
        raise RuntimeError("dirty")

    pool = kind.make(reset=fail)
    with pytest.raises(RuntimeError):
        pool.connection().close()
    assert closed_by(pool) == {"dead": 1}


@pytest.mark.parametrize(("option", "reason"), [
    ("maxlifetime", "expired"), ("maxidletime", "idle")])
def test_what_is_too_old_has_its_reason(kind, option, reason):
    pool = kind.make(1, **{option: 100})
    maintenance = pool._core.maintenance
    now = maintenance.clock() + 200
    maintenance.clock = lambda: now
    pool.connection().close()
    assert closed_by(pool) == {reason: 1}
    now += 200
    maintenance._work(pool._core)
    assert closed_by(pool) == {reason: 2}


def test_what_has_expired_in_use_has_its_reason(kind):
    pool = kind.make(1, maxlifetime=100)
    maintenance = pool._core.maintenance
    lease = pool.connection()
    now = maintenance.clock() + 200
    maintenance.clock = lambda: now
    lease.close()
    assert closed_by(pool) == {"expired": 1}


def test_what_a_health_check_finds_is_dead(dbapi):
    pool = HealthCheckPooledDB(dbapi, 2, health_check_interval=None)
    for con in pool._idle_cache:
        con._con.cut()
    pool.auto_cleanup_invalid()
    assert closed_by(pool) == {"dead": 2}


def test_the_oldest_lease_is_told(kind):
    pool = kind.make(track=True)
    assert pool.stats().oldest is None
    first, second = pool.connection(), pool.connection()
    oldest = pool.stats().oldest
    assert oldest is not None
    assert 0 <= oldest <= pool.stats().oldest
    assert oldest >= pool._core.holders()[1].seconds - (
        pool.stats().oldest - oldest)
    first.close()
    second.close()
    assert pool.stats().oldest is None


def test_a_lease_of_which_nothing_was_noted_may_be_the_oldest(kind):
    pool = kind.make(track=False)
    with pool.connection():
        assert pool.stats().oldest is None


def test_the_state_of_a_real_pool_can_be_pickled(kind):
    stats = kind.make(1).stats()
    assert pickle.loads(pickle.dumps(stats)) == stats


def test_what_many_threads_add_is_added():
    total = Sum()
    join(in_threads(lambda: [total.add(2) for _ in range(1000)], 8))
    last = total.read()
    assert (last.number, last.total, last.greatest) == (8000, 16000, 2)
