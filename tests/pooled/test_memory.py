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

# The bytes of an idle connection besides those of the driver, of the pool and
# of the story, which keeps the last events only: in a pool without a limit, in
# one that has noted holders, and if it was never in use.
BUDGETS = {"unlimited": 653, "noted": 778, "unused": 656}


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


def bytes_of(case, creator, number):
    """Return the bytes of a pool with idle connections.

    The tables of threads do not become smaller when those have ended.
    """
    gc.collect()
    tracemalloc.start()
    try:
        pool = make_and_use(case, creator, number)
        of_story = sum(
            sys.getsizeof(part)
            for ring in pool._core.story._rings.values() for event in ring
            for part in (event, event.at, event.seconds))
        gc.collect()
        traces = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(False, "*threads.py")]).traces
        return sum(trace.size for trace in traces) - of_story
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 13), reason="sizes differ between versions")
@pytest.mark.parametrize("case", BUDGETS)
def test_an_idle_connection_keeps_to_its_budget(monkeypatch, case):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import nothing
    number, few = 300, 20
    kept = [nothing.Connection() for _ in range(2 * number + 3 * few)]
    creator = ModuleType("creator")
    vars(creator).update(vars(nothing), connect=kept.pop)
    make_and_use(case, creator, number + few)  # what is there only once
    of_pool = bytes_of(case, creator, few)
    size = bytes_of(case, creator, number + few) - of_pool
    assert size / number <= BUDGETS[case]


def sessions_of(pool):
    return [con._own_session for con in pool._idle_cache]


def parts_of(pool):
    """Return how many different parts the sessions of a pool have."""
    sessions = sessions_of(pool)
    return [len({id(getattr(session, name)) for session in sessions})
            for name in ("terms", "settings", "opener")]


def test_the_sessions_of_a_pool_share_what_is_equal(dbapi):
    pool = PooledDB(dbapi, mincached=3)
    assert parts_of(pool) == [1, 1, 1]


def test_the_sessions_of_a_classic_pool_share_what_is_equal(pg):
    pool = PooledPg(2)
    leases = [pool.connection() for _ in range(2)]
    first, other = (lease._con._own_session for lease in leases)
    assert first.terms is other.terms
    assert first.settings is other.settings


def test_sessions_that_were_opened_again_share_what_is_equal(dbapi):
    pool = PooledDB(dbapi, mincached=3)
    for session in sessions_of(pool):
        session.reconnect()
    assert parts_of(pool) == [1, 1, 1]


def test_a_change_of_what_is_shared_concerns_one_session(dbapi):
    pool = PooledDB(dbapi, mincached=3)
    first, *others = pool._idle_cache
    first._maxusage = 5
    assert first._maxusage == 5
    assert [con._maxusage for con in others] == [0, 0]
    assert parts_of(pool) == [2, 1, 1]


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
