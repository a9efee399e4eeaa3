"""Leases that are dropped while the thread that made the permit waits.

Without the GIL, an object dies only when the thread runs that has made it.
"""

import gc
from threading import Thread

import pytest

from dbutils.pooled_db import PooledDB
from dbutils.simple_pooled_db import PooledDB as SimplePooledDB

ROUNDS = 50


class Watcher:
    """Is told of each use."""

    def __init__(self):
        self.uses = 0

    def released(self, used):
        self.uses += 1


@pytest.fixture(autouse=True)
def _without_collections():
    """Let no collection find what was dropped."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def in_another_thread(work):
    """Return the results of a function, for which this thread waits."""
    results = []
    thread = Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join()
    return results


def make_pool(dbapi, **options):
    """Return a pool whose only connection was opened by this thread."""
    return PooledDB(dbapi, mincached=1, maxconnections=1, **options)


@pytest.mark.parametrize("options", [
    {}, {"maxshared": 1}, {"track": True}, {"maxlifetime": 60},
    {"leakafter": 60, "reclaim": True}], ids=str)
def test_a_place_is_free_at_once_when_its_lease_is_dropped(dbapi, options):
    pool = make_pool(dbapi, **options)

    def drop():
        for _ in range(ROUNDS):
            pool.dedicated_connection()  # raises an error if none is free
            pool.connection().cursor()
        return pool._connections, len(pool._idle_cache)

    assert in_another_thread(drop) == [(0, 1)]
    assert pool.stats().borrowed == 2 * ROUNDS


def test_the_last_of_those_who_share_gives_the_connection_back(dbapi):
    pool = make_pool(dbapi, maxshared=1)

    def drop():
        for _ in range(ROUNDS):
            leases = [pool.connection(), pool.connection()]
            assert leases[0]._con is leases[1]._con
            leases.clear()
            pool.dedicated_connection().close()
        return pool._connections, len(pool._shared_cache)

    assert in_another_thread(drop) == [(0, 0)]


def test_an_observer_is_told_of_each_end_once(dbapi):
    pool, watcher = make_pool(dbapi), Watcher()
    pool.observe(watcher)

    def drop():
        for _ in range(ROUNDS):
            pool.connection()
        pool.connection().close()

    in_another_thread(drop)
    assert watcher.uses == ROUNDS + 1


def test_a_simple_pool_gets_its_connections_back(dbapi, monkeypatch):
    monkeypatch.setattr(dbapi, "threadsafety", 1)
    pool = SimplePooledDB(dbapi, 1)
    pool.connection().close()  # this thread opens it

    def drop():
        for _ in range(ROUNDS):
            pool.connection()
        pool.connection().close()  # finds what was dropped
        return repr(pool)

    assert "0 of 1 in use, 0 waiting" in in_another_thread(drop)[0]


def test_a_lease_that_another_thread_has_closed_is_not_returned_twice(dbapi):
    pool = make_pool(dbapi)

    def close():
        for _ in range(ROUNDS):
            lease = pool.connection()
            in_another_thread(lease.close)
            other = pool.connection()
            del lease
            assert pool._connections == 1
            other.close()
        return pool._connections

    assert in_another_thread(close) == [0]
