"""How pools end: close(), drain(), shutdown() and "with"."""

import gc
import sqlite3
import subprocess
import sys
from threading import Thread
from weakref import ref

import pytest
from patience import PATIENCE, wait_until

from dbutils import ResourceAllocationPooledDB
from dbutils.pooled_db import PooledDB


def open_ones(kind, server):
    return sum(map(kind.is_open, server.connections))


def test_a_closed_pool_can_be_used_again(kind, server):
    pool = kind.make(mincached=2)
    lease = pool.connection()
    pool.close()
    assert open_ones(kind, server) == 1
    lease.close()
    assert kind.idle(pool) == 1
    with pool.connection():
        assert kind.in_use(pool) == 1


def test_a_drained_pool_closes_what_comes_back(kind, server):
    pool = kind.make(mincached=2, maxconnections=2)
    lease = pool.connection()
    pool.drain()
    assert open_ones(kind, server) == 1
    other = pool.connection()
    lease.close()
    assert open_ones(kind, server) == 1
    other.close()
    assert kind.idle(pool) == 1
    assert kind.is_open(kind.driver_con(pool.connection()))


def test_draining_does_not_lose_those_who_wait(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    lease = pool.connection()
    old = lease._con
    served = []
    thread = Thread(target=lambda: served.append(pool.connection()))
    thread.start()
    wait_until(lambda: pool.stats().waiting)
    pool.drain()
    lease.close()
    thread.join(PATIENCE)
    assert served[0]._con is not old


def test_a_pool_that_was_shut_down_hands_out_nothing(kind, server):
    pool = kind.make(mincached=2)
    assert pool.shutdown()
    assert open_ones(kind, server) == 0
    with pytest.raises(kind.module.PoolClosedError, match="shut down"):
        pool.connection()
    assert pool.shutdown()  # once more changes nothing


def test_shutting_down_waits_for_what_is_in_use(kind, server):
    pool = kind.make()
    lease = pool.connection()
    ended = []
    thread = Thread(target=lambda: ended.append(pool.shutdown(PATIENCE)))
    thread.start()
    wait_until(lambda: pool._core.is_closed)
    assert not ended
    lease.close()
    thread.join(PATIENCE)
    assert ended == [True]
    assert open_ones(kind, server) == 0


def test_shutting_down_waits_no_longer_than_it_may(kind, server):
    pool = kind.make()
    lease = pool.connection()
    assert not pool.shutdown(0.02)
    assert open_ones(kind, server) == 1
    lease.close()
    assert open_ones(kind, server) == 0
    assert pool.shutdown(0)


def test_shutting_down_tells_those_who_wait(kind):
    pool = kind.make(maxconnections=1, blocking=True)
    lease = pool.connection()
    errors = []

    def wait():
        with pytest.raises(kind.module.PoolClosedError):
            pool.connection()
        errors.append("told")

    threads = [Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: pool.stats().waiting == 3)
    pool.shutdown(0)
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == ["told"] * 3
    assert lease


def test_a_pool_is_shut_down_at_the_end_of_its_context(kind, server):
    with kind.make(mincached=1) as pool:
        pool.connection().close()
    assert open_ones(kind, server) == 0
    with pytest.raises(kind.module.PoolClosedError):
        pool.connection()


def test_a_bad_time_to_shut_down_is_refused(kind):
    pool = kind.make()
    with pytest.raises(ValueError, match="'timeout'"):
        pool.shutdown(-1)
    assert pool.connection()


SCRIPT = """
import sqlite3, threading
from dbutils.pooled_db import PooledDB
pool = PooledDB(
    sqlite3, mincached=2, maxconnections=3, blocking=True,
    check_same_thread=False, database=":memory:")
leases = [pool.connection() for _ in range(3)]
cycle = [leases.pop()]
cycle.append(cycle)
cursor = leases[0].cursor()
thread = threading.Thread(target=pool.connection, daemon=True)
{start}
"""


@pytest.mark.parametrize("start", ["thread.start()", ""])
def test_nothing_hangs_or_is_printed_at_the_end_of_the_program(start):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(start=start)],
        capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def change_reset(pool):
    pool._reset = pool._reset


def replace_cache(pool):
    pool.cache = pool.cache
    del pool.cache
    pool.connection().close()  # finds that out


@pytest.mark.parametrize("change", [change_reset, replace_cache])
def test_what_is_changed_in_a_drained_pool_lets_nothing_stay(kind, change):
    pool = kind.make()
    lease = pool.connection()
    con = kind.driver_con(lease)
    pool.drain()
    change(pool)
    idle = kind.idle(pool)
    lease.close()
    assert kind.idle(pool) == idle
    assert not kind.is_open(con)


class Sqlite(sqlite3.Connection):
    """A connection during whose rollback something else happens."""

    during_rollback = None

    def rollback(self):
        super().rollback()
        if Sqlite.during_rollback is not None:
            Sqlite.during_rollback()


@pytest.mark.parametrize("failover", ["safe", "always"])
def test_a_pool_can_be_drained_while_a_connection_is_rolled_back(
        monkeypatch, failover):
    pool = PooledDB(
        sqlite3, database=":memory:", factory=Sqlite, failover=failover)
    lease = pool.connection()
    lease.cursor().execute("create table t (i integer)")
    lease.cursor().execute("insert into t values (1)")
    monkeypatch.setattr(Sqlite, "during_rollback", pool.drain)
    lease.close()
    assert pool.stats().idle == 0


def test_the_ways_of_a_pool_that_was_too_large_open_again(dbapi):
    pool = PooledDB(dbapi, maxshared=2, maxconnections=3)
    leases = [pool.connection(shareable) for shareable in (1, 1, 0)]
    pool._maxconnections = 2
    pool.close()
    while leases:
        leases.pop().close()
    pool.dedicated_connection().close()
    assert pool._core.room != 0


def test_the_core_of_a_dropped_pool_with_quotas_dies_at_once(dbapi):
    pool = ResourceAllocationPooledDB(dbapi, maxconnections=2)
    pool.reserve("web", 1)
    pool.connection().close()
    core = ref(pool._core)
    gc.disable()
    try:
        del pool
        assert core() is None
    finally:
        gc.enable()
