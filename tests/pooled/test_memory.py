"""Idle connections take little memory, and are told of forks by their pool."""

import gc
import sys
import tracemalloc
from types import ModuleType

import pytest
from folders import BENCHMARKS
from forking import in_child, needs_fork

from dbutils._base.fork import is_orphan
from dbutils.pooled_db import PooledDB
from dbutils.pooled_pg import PooledPg

# The bytes of an idle connection besides those of the driver and of the story:
# in a pool without a limit, in one that has noted holders, and if it was never
# in use.
BUDGETS = {"unlimited": 1090, "noted": 1120, "unused": 1110}


def use(pool, number):
    for lease in [pool.connection() for _ in range(number)]:
        lease.close()


def make_and_use(case, creator, number):
    sizes = {
        "unlimited": {"maxconnections": 0},
        "noted": {"maxconnections": number},
        "unused": {"mincached": number}}
    pool = PooledDB(creator, **sizes[case])
    if case != "unused":
        use(pool, number)
    return pool


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 13), reason="sizes differ between versions")
@pytest.mark.parametrize("case", BUDGETS)
def test_an_idle_connection_keeps_to_its_budget(monkeypatch, case):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import nothing
    number = 300
    kept = [nothing.Connection() for _ in range(number + 2)]
    creator = ModuleType("creator")
    vars(creator).update(vars(nothing), connect=kept.pop)
    make_and_use(case, creator, 2)  # what is there only once
    gc.collect()
    tracemalloc.start()
    try:
        pool = make_and_use(case, creator, number)
        of_story = sum(
            sys.getsizeof(event)
            for ring in pool._core.story._rings.values() for event in ring)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] - of_story
    finally:
        tracemalloc.stop()
    assert size / number <= BUDGETS[case]


@pytest.mark.parametrize("mincached", [1, 3])
def test_connections_that_were_opened_ahead_leave_no_lost_slots(
        dbapi, mincached):
    pool = PooledDB(dbapi, mincached)
    assert not pool._core.lost
    assert len(pool._idle_cache) == mincached


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
