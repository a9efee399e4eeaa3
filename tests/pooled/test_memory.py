"""Idle connections take little memory, and are told of forks by their pool."""

import gc
import sys
import tracemalloc

import pytest
from folders import BENCHMARKS
from forking import in_child, needs_fork

from dbutils._base.fork import is_orphan
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg

# The bytes of an idle connection besides those of the driver.
BUDGET = 790


def use(pool, number):
    for lease in [pool.connection() for _ in range(number)]:
        lease.close()


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 13), reason="sizes differ between versions")
def test_an_idle_connection_keeps_to_its_budget(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import nothing
    number = 1000
    kept = [nothing.Connection() for _ in range(number + 1)]
    pool = PooledDB(nothing, maxconnections=0)
    pool._creator = kept.pop
    use(pool, 1)  # what is there only once
    gc.collect()
    tracemalloc.start()
    try:
        use(pool, number)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size / number <= BUDGET


@needs_fork
def test_connections_in_a_pool_stay_with_the_parent(dbapi):
    pool = PooledDB(dbapi, mincached=2)
    lease = pool.connection()
    cons = [lease._con, *pool._idle_cache]
    assert in_child(lambda: list(map(is_orphan, cons))) == [True, True]
    assert not any(map(is_orphan, cons))


@needs_fork
def test_a_connection_that_has_left_its_pool_is_told_itself(pg):
    pool = PooledPg(mincached=1)
    con = pool._cache.get()
    assert in_child(lambda: is_orphan(con)) is True


@needs_fork
def test_a_connection_shared_in_a_cleared_pool_is_told_itself(dbapi):
    dbapi.threadsafety = 2
    pool = PooledDB(dbapi, maxshared=1)
    lease = pool.connection()
    con = lease._con
    pool.drain()
    assert in_child(lambda: is_orphan(con)) is True
